// Arrow keys move through the cells of a heat map; one cell at a time takes part in the tab order.
import { on } from "../lib/dom.js";

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** @param {HTMLTableElement} element */
export function mount(element) {
  const rows = [...element.tBodies].flatMap((body) => [...body.rows])
    .map((row) => /** @type {HTMLElement[]} */ ([...row.querySelectorAll(".heat-map__cell")]));
  rows.flat().forEach((cell, at) => { cell.tabIndex = at === 0 ? 0 : -1; });
  return on(element, "keydown", (event) => {
    const step = /** @type {any} */ (STEPS)[event.key];
    const row = rows.findIndex((cells) => cells.includes(event.target));
    if (!step || row < 0) return;
    const next = rows[row + step[0]]?.[rows[row].indexOf(event.target) + step[1]];
    if (!next) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}
