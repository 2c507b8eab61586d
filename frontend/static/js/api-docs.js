// Draws the REST API's reference, light or dark as the portal is.
const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");
const dress = () => root.classList.toggle("dark-mode", (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark");
system.addEventListener("change", dress);
dress();

/** @type {any} */ (window).SwaggerUIBundle({
  url: document.getElementById("swagger-ui")?.dataset.url,
  dom_id: "#swagger-ui",
  deepLinking: true,
  filter: true,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
});
