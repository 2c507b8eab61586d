// Buttons that choose system, light or dark, and remember it.
import { on } from "../lib/dom.js";

const KEY = "regatta.theme";

/** @param {HTMLElement} element */
export function mount(element) {
  const buttons = [...element.querySelectorAll("[data-theme-value]")];
  const show = () => {
    const theme = document.documentElement.dataset.theme ?? "system";
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.getAttribute("data-theme-value") === theme));
    }
  };
  show();
  return on(element, "click", (event) => {
    const theme = event.target.closest("[data-theme-value]")?.dataset.themeValue;
    if (!theme) return;
    if (theme === "system") {
      delete document.documentElement.dataset.theme;
      localStorage.removeItem(KEY);
    } else {
      document.documentElement.dataset.theme = theme;
      localStorage.setItem(KEY, theme);
    }
    show();
    document.dispatchEvent(new CustomEvent("regatta:theme"));
  });
}
