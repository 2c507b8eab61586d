// A message that leaves by itself unless it is an error or a warning, a person points at it, or closes it.
import { all, on } from "../lib/dom.js";

const STAY_MS = 6000;
const LASTING = ["error", "warning"];

/** @param {HTMLElement} element */
export function mount(element) {
  /** @type {number | undefined} */
  let timer;
  const wait = () => {
    if (!LASTING.includes(element.dataset.tone ?? "")) timer = setTimeout(() => element.remove(), STAY_MS);
  };
  const stay = () => clearTimeout(timer);
  wait();
  return all([
    stay,
    on(element, "mouseenter", stay), on(element, "focusin", stay), on(element, "mouseleave", wait),
    on(element, "click", (event) => { if (event.target.closest("[data-close]")) element.remove(); }),
  ]);
}
