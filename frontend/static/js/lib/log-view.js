// Lines on the screen: chunks of 200, of which only those near the view hold elements.
import { bare, spansOf } from "./ansi.js";
import { cutAt } from "./lines.js";

const CHUNK = 200;

/** @typedef {{words: string, current: number}} Search */

/** @param {string} text @param {number} index @param {Search} search @returns {HTMLElement} */
function lineElement(text, index, search) {
  const line = document.createElement("span");
  line.className = "log__line";
  line.dataset.n = String(index + 1);
  const hit = search.words !== "" && bare(text).toLowerCase().includes(search.words.toLowerCase());
  if (hit) line.dataset.hit = "";
  if (index === search.current) line.dataset.current = "";
  for (const span of spansOf(text).spans) {
    const holder = span.classes ? document.createElement("span") : line;
    if (span.classes) holder.className = span.classes;
    for (const [part, isHit] of cutAt(span.text, search.words)) {
      if (!isHit) { holder.append(part); continue; }
      const mark = document.createElement("mark");
      mark.textContent = part;
      holder.append(mark);
    }
    if (holder !== line) line.append(holder);
  }
  return line;
}

export class LogView {
  /** @param {HTMLElement} view what scrolls @param {HTMLElement} holder of the chunks
   * @param {import("./lines.js").Lines} lines */
  constructor(view, holder, lines) {
    this.view = view;
    this.holder = holder;
    this.lines = lines;
    /** @type {Search} */
    this.search = { words: "", current: -1 };
    /** @type {HTMLElement[]} */
    this.chunks = [];
    this.lineHeight = parseFloat(getComputedStyle(view).lineHeight) || 20;
    this.near = new IntersectionObserver((entries) => {
      for (const entry of entries) this.enter(/** @type {HTMLElement} */ (entry.target), entry.isIntersecting);
    }, { root: view, rootMargin: "600px 0px" });
  }

  /** Brings the chunks up to date from one line on. @param {number} first */
  show(first) {
    const needed = Math.ceil(this.lines.count / CHUNK);
    while (this.chunks.length < needed) this.append();
    for (let at = Math.floor(first / CHUNK); at < needed; at += 1) {
      const chunk = this.chunks[at];
      if (chunk.dataset.near === undefined) this.reserve(chunk, at);
      else this.fill(chunk, at, first);
    }
  }

  append() {
    const chunk = document.createElement("div");
    chunk.className = "log__chunk";
    this.chunks.push(chunk);
    this.reserve(chunk, this.chunks.length - 1);
    this.holder.append(chunk);
    this.near.observe(chunk);
  }

  /** @param {number} at */
  linesOf(at) {
    return Math.min(CHUNK, this.lines.count - at * CHUNK);
  }

  /** An empty chunk keeps its height: as measured, or as many lines as it will hold.
   * @param {HTMLElement} chunk @param {number} at @param {number} [height] */
  reserve(chunk, at, height) {
    chunk.style.blockSize = `${height ?? this.linesOf(at) * this.lineHeight}px`;
  }

  /** @param {HTMLElement} chunk @param {boolean} isNear */
  enter(chunk, isNear) {
    const at = this.chunks.indexOf(chunk);
    if (isNear && chunk.dataset.near === undefined) {
      chunk.dataset.near = "";
      this.fill(chunk, at, 0);
    } else if (!isNear && chunk.dataset.near !== undefined) {
      const height = chunk.getBoundingClientRect().height;
      delete chunk.dataset.near;
      chunk.replaceChildren();
      this.reserve(chunk, at, height);
    }
  }

  /** @param {HTMLElement} chunk @param {number} at @param {number} first */
  fill(chunk, at, first) {
    chunk.style.blockSize = "";
    const from = at * CHUNK;
    const keep = Math.max(0, Math.min(first - from, chunk.childElementCount));
    while (chunk.childElementCount > keep) chunk.lastElementChild?.remove();
    const fresh = document.createDocumentFragment();
    for (let index = from + keep; index < from + this.linesOf(at); index += 1) {
      fresh.append(lineElement(this.lines.shown(index), index, this.search));
    }
    chunk.append(fresh);
  }

  /** @param {Search} search */
  mark(search) {
    this.search = search;
    this.chunks.forEach((chunk, at) => { if (chunk.dataset.near !== undefined) this.fill(chunk, at, 0); });
  }

  /** @param {number} index */
  reveal(index) {
    const at = Math.floor(index / CHUNK);
    const chunk = this.chunks[at];
    if (!chunk) return;
    this.enter(chunk, true);
    chunk.children[index - at * CHUNK]?.scrollIntoView({ block: "center", inline: "nearest" });
  }

  clear() {
    this.near.disconnect();
    this.holder.replaceChildren();
    this.chunks = [];
  }
}
