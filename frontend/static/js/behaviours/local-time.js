// <time datetime>: relative, exact in the reader's zone on hover; or a duration that runs.
import { lang } from "../lib/dom.js";
import { duration, exact, relative } from "../lib/times.js";

/** @type {Set<HTMLElement>} */
const shown = new Set();
/** @type {number | undefined} */
let timer;

/** @param {HTMLElement} element */
function show(element) {
  const at = Date.parse(element.getAttribute("datetime") ?? "");
  if (Number.isNaN(at)) return;
  const running = element.dataset.form === "running";
  const words = running ? duration((Date.now() - at) / 1000) : relative(at, Date.now(), lang());
  if (element.textContent !== words) element.textContent = words;
}

/** @param {HTMLElement} element */
export function mount(element) {
  const at = Date.parse(element.getAttribute("datetime") ?? "");
  if (!Number.isNaN(at) && !element.title) element.title = exact(at, lang());
  show(element);
  shown.add(element);
  timer ??= setInterval(() => shown.forEach(show), 1000);
  return () => {
    shown.delete(element);
    if (shown.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}
