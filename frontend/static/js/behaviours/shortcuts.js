// Keys for the whole page: elements say theirs by data-key ("g j", "n", "/"). "?" shows the sheet.
import { all, on } from "../lib/dom.js";

const PATIENCE_MS = 1200;
const TYPED_INTO = "input:not([type=checkbox], [type=radio], [type=submit]), textarea, select, [contenteditable]";

/** @param {HTMLElement} element */
export function mount(element) {
  let begun = "";
  /** @type {number | undefined} */
  let timer;
  const off = () => localStorage.getItem("regatta.keys") === "off";

  /** @param {string} keys */
  const act = (keys) => {
    const named = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(`[data-key="${CSS.escape(keys)}"]`)]);
    const target = named.find((one) => one.checkVisibility()) ?? named[0];
    if (!target) return false;
    if (target.matches(TYPED_INTO)) target.focus();
    else target.click();
    return true;
  };

  return all([
    () => clearTimeout(timer),
    on(element, "change", (event) => {
      if (event.target.matches("[data-keys-off]")) {
        localStorage.setItem("regatta.keys", event.target.checked ? "off" : "on");
      }
    }),
    on(document, "keydown", (event) => {
      if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest?.(TYPED_INTO)) {
        if (event.key === "Escape" && event.target.matches("[type=search]")) event.target.blur();
        return;
      }
      if (off() || document.querySelector("dialog[open]")) return;
      const keys = begun ? `${begun} ${event.key}` : event.key;
      begun = "";
      clearTimeout(timer);
      if (act(keys) || (keys !== event.key && act(event.key))) event.preventDefault();
      else if (event.key === "g") {
        begun = "g";
        timer = setTimeout(() => { begun = ""; }, PATIENCE_MS);
      }
    }),
  ]);
}
