// A <details> menu closes on Escape, on a click outside, and moves by arrows inside.
import { all, on } from "../lib/dom.js";

/** @param {HTMLDetailsElement} element */
export function mount(element) {
  const items = () => /** @type {HTMLElement[]} */ ([...element.querySelectorAll(".menu__list :is(a, button)")]);
  const close = () => { element.open = false; };
  return all([
    on(document, "click", (event) => { if (!element.contains(event.target)) close(); }),
    on(element, "focusout", (event) => {
      if (event.relatedTarget && !element.contains(event.relatedTarget)) close();
    }),
    on(element, "keydown", (event) => {
      if (event.key === "Escape" && element.open) {
        close();
        element.querySelector("summary")?.focus();
        event.stopPropagation();
      }
      const step = { ArrowDown: 1, ArrowUp: -1 }[/** @type {string} */ (event.key)];
      if (!step) return;
      event.preventDefault();
      element.open = true;
      const list = items();
      const at = list.indexOf(/** @type {HTMLElement} */ (document.activeElement));
      list[(at + step + list.length) % list.length]?.focus();
    }),
  ]);
}
