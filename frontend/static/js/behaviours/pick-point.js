// A click on a point of a chart puts what the point stands for into the field that data-pick names, and sends its form.
import { on } from "../lib/dom.js";

/** @param {HTMLElement} element */
export function mount(element) {
  return on(element, "regatta:point", (event) => {
    const field = /** @type {HTMLInputElement} */ (document.getElementById(element.dataset.pick ?? ""));
    if (!event.detail) return;
    field.value = event.detail;
    field.form?.requestSubmit();
  });
}
