// A click on a point of a chart asks for the page with what the point stands for, under the name that data-pick says.
import { on } from "../lib/dom.js";

/** @param {HTMLElement} element */
export function mount(element) {
  return on(element, "regatta:point", (event) => {
    if (!event.detail) return;
    const url = new URL(location.href);
    url.searchParams.set(element.dataset.pick ?? "", event.detail);
    history.replaceState(history.state, "", url);
    /** @type {any} */ (window).htmx.ajax("GET", url.pathname + url.search, { target: element.dataset.target, swap: "outerHTML" });
  });
}
