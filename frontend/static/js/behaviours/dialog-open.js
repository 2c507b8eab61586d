// A link or button opens the <dialog> named by data-dialog; without JavaScript the link's own page asks instead.
import { on } from "../lib/dom.js";

/** @param {HTMLElement} element */
export function mount(element) {
  return on(element, "click", (event) => {
    const dialog = document.getElementById(element.dataset.dialog ?? "");
    if (!(dialog instanceof HTMLDialogElement)) return;
    event.preventDefault();
    element.closest("details")?.removeAttribute("open");
    dialog.showModal();
  });
}
