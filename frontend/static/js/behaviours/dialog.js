// A <dialog> that closes by its own buttons and by a click beside it; asks for a name to be typed where data-name is set.
import { all, on } from "../lib/dom.js";

/** @param {HTMLDialogElement} element */
export function mount(element) {
  const typed = /** @type {HTMLInputElement | null} */ (element.querySelector("[data-name]"));
  const submit = /** @type {HTMLButtonElement | null} */ (element.querySelector("[type=submit]"));
  const check = () => { if (typed && submit) submit.disabled = typed.value.trim() !== typed.dataset.name; };
  check();
  return all([
    on(element, "input", check),
    on(element, "click", (event) => {
      if (event.target === element || event.target.closest("[data-close]")) element.close();
    }),
  ]);
}
