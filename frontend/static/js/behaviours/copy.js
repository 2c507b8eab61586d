// Copies data-copy, or the text of the element that data-copy-from names.
import { on } from "../lib/dom.js";

/** @param {string} text */
async function toClipboard(text) {
  if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"); // plain http on another host than this one
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** @param {HTMLElement} element */
export function mount(element) {
  /** @type {number | undefined} */
  let timer;
  const said = document.getElementById("said");
  return on(element, "click", async () => {
    const from = element.dataset.copyFrom && document.querySelector(element.dataset.copyFrom);
    await toClipboard((from ? from.textContent : element.dataset.copy) ?? "");
    element.dataset.copied = "";
    if (said) said.textContent = said.dataset.copied ?? "";
    clearTimeout(timer);
    timer = setTimeout(() => { delete element.dataset.copied; }, 1600);
    element.focus();
  });
}
