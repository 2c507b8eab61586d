// Shows the parts whose data-when="name=value" is what the form says; the others are hidden and not sent.
import { on } from "../lib/dom.js";

/** @param {HTMLFormElement} element */
export function mount(element) {
  const show = () => {
    const said = new FormData(element);
    for (const part of /** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll("[data-when]"))) {
      const [name, values] = (part.dataset.when ?? "").split("=");
      part.hidden = !values.split("|").includes(String(said.get(name) ?? ""));
    }
  };
  show();
  return on(element, "change", show);
}
