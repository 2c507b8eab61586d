// Draws a figure when its place comes into view, and again when the theme or the size changes.
import { all, on } from "../lib/dom.js";

/** @param {HTMLElement} element */
export function mount(element) {
  const figure = JSON.parse(document.getElementById(element.dataset.figure ?? "")?.textContent ?? "null");
  if (!figure) return undefined;
  /** @type {(() => void) | undefined} */
  let clean;
  const draw = async () => {
    const { draw: plot } = await import("../charts/plot.js");
    if (!element.isConnected) return;
    clean = await plot(element, figure);
    element.dataset.drawn = "";
  };
  const seen = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    seen.disconnect();
    void draw();
  }, { rootMargin: "200px" });
  seen.observe(element);
  const system = matchMedia("(prefers-color-scheme: dark)");
  const again = () => { if (clean) void draw(); };
  return all([
    () => seen.disconnect(), () => clean?.(), on(document, "regatta:theme", again), on(system, "change", again),
  ]);
}
