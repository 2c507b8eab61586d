// Fills a form with the values of an example (a JSON script named by data-values); without it, the link does.
import { on } from "../lib/dom.js";

/** @param {HTMLElement} element */
export function mount(element) {
  return on(element, "click", (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (document.getElementById(element.dataset.form ?? ""));
    const values = JSON.parse(document.getElementById(element.dataset.values ?? "")?.textContent ?? "{}");
    for (const [name, value] of Object.entries(values)) {
      const field = /** @type {any} */ (form.elements.namedItem(name));
      if (!field) continue;
      field.value = value;
      const one = field instanceof Element ? field : [...field].find((radio) => radio.checked);
      one?.dispatchEvent(new Event("input", { bubbles: true }));
      one?.dispatchEvent(new Event("change", { bubbles: true }));
    }
  });
}
