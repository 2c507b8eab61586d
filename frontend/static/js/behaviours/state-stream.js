// Says "regatta:state" when the stream tells of a move, so that htmx fetches parts anew; keeps progress in step.
import { all, lang } from "../lib/dom.js";
import { listen } from "../lib/stream.js";
import { duration } from "../lib/times.js";

const BREATH_MS = 250; // several moves at once are one swap

/** @param {HTMLElement} element */
export function mount(element) {
  let generation = Number(element.dataset.generation ?? -1);
  /** @type {number | undefined} */
  let timer;
  const refresh = () => {
    clearTimeout(timer);
    timer = setTimeout(() => document.body.dispatchEvent(new CustomEvent("regatta:state")), BREATH_MS);
  };
  /** @param {{generation: number}} state */
  const moved = (state) => {
    if (state.generation === generation) return;
    generation = state.generation;
    refresh();
  };
  /** @param {{step?: number, total_steps?: number, eta_s?: number}} progress */
  const stepped = (progress) => {
    const bar = element.querySelector("progress");
    if (!bar) { refresh(); return; }
    if (progress.total_steps) bar.max = progress.total_steps;
    if (progress.step !== undefined) bar.value = progress.step;
    for (const [name, value] of Object.entries(progress)) {
      const place = element.querySelector(`[data-progress="${CSS.escape(name)}"]`);
      if (place && value !== null) {
        place.textContent = name === "eta_s" ? duration(Number(value))
          : Number(value).toLocaleString(lang(), { maximumFractionDigits: name.endsWith("_per_s") ? 0 : 3 });
      }
    }
  };
  return all([() => clearTimeout(timer),
    listen(element.dataset.stream ?? "", { state: moved, progress: stepped, end: refresh })]);
}
