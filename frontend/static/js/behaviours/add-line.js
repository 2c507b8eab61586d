// Adds data-line to the text area named by data-to, on a line of its own, and puts the cursor there.
import { on } from "../lib/dom.js";

/** @param {HTMLElement} element */
export function mount(element) {
  return on(element, "click", () => {
    const area = document.getElementById(element.dataset.to ?? "");
    if (!(area instanceof HTMLTextAreaElement)) return;
    const before = area.value.replace(/\n*$/, "");
    area.value = `${before}${before && "\n"}${element.dataset.line}`;
    area.dispatchEvent(new Event("input", { bubbles: true }));
    area.focus();
  });
}
