// A form that asks first, in the <dialog> named by data-dialog, what it would do to data-about; without scripts it is sent.
import { on } from "../lib/dom.js";

/** @param {HTMLFormElement} element */
export function mount(element) {
  let sure = false;
  return on(element, "submit", (event) => {
    const dialog = document.getElementById(element.dataset.dialog ?? "");
    if (sure || !(dialog instanceof HTMLDialogElement)) return;
    event.preventDefault();
    const { submitter } = event;
    const about = dialog.querySelector("[data-about]");
    if (about) about.textContent = element.dataset.about ?? "";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      sure = dialog.returnValue === "yes";
      if (sure) element.requestSubmit(submitter);
      sure = false; // the page may be come back to as it was left
    }, { once: true });
    dialog.showModal();
  });
}
