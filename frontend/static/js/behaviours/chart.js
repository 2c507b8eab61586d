// Draws a figure when its place comes into view; again when the figure, the theme or the size changes.
import { all, on } from "../lib/dom.js";

/** @param {HTMLElement} element */
export function mount(element) {
  /** @type {(() => void) | undefined} */
  let clean;
  let drawn = ""; // the figure's text as it was drawn last
  let visible = false;
  const draw = async () => {
    const text = document.getElementById(element.dataset.figure ?? "")?.textContent ?? "";
    if (!visible || !text) return;
    drawn = text;
    const { draw: plot } = await import("../charts/plot.js");
    if (!element.isConnected) return;
    clean = await plot(element, JSON.parse(text));
    element.dataset.drawn = "";
  };
  // A place that htmx preserves stays, while the figure beside it is a new one.
  const renew = () => {
    const text = document.getElementById(element.dataset.figure ?? "")?.textContent ?? "";
    if (text && text !== drawn) void draw();
  };
  const seen = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    seen.disconnect();
    visible = true;
    void draw();
  }, { rootMargin: "200px" });
  seen.observe(element);
  const system = matchMedia("(prefers-color-scheme: dark)");
  return all([
    () => seen.disconnect(), () => clean?.(), on(document, "htmx:afterSettle", renew),
    on(document, "regatta:theme", draw), on(system, "change", draw),
  ]);
}
