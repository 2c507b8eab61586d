// A filter form that sends itself when a choice changes, and a moment after typing.
import { all, on } from "../lib/dom.js";

const PAUSE_MS = 300;

/** @param {HTMLFormElement} element */
export function mount(element) {
  /** @type {number | undefined} */
  let timer;
  const send = () => element.requestSubmit();
  return all([
    () => clearTimeout(timer),
    on(element, "change", (event) => { if (event.target.type !== "search") send(); }),
    on(element, "input", (event) => {
      if (event.target.type !== "search" || event.isComposing) return;
      clearTimeout(timer);
      timer = setTimeout(send, PAUSE_MS);
    }),
  ]);
}
