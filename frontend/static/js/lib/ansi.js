// Terminal text → spans of plain text with classes from a fixed list. Pure.

/** @typedef {{text: string, classes: string}} Span */
/** @typedef {{bold?: boolean, dim?: boolean, italic?: boolean, underline?: boolean, inverse?: boolean,
 *   front?: number, back?: number}} Style */

// CSI … letter; OSC … BEL or ST; any other escape of two characters; other controls but tab.
const ESCAPES = new RegExp(
  "\\u001b\\[([0-9;:]*)([@-~])|\\u001b\\[[0-?]*[ -/]*[@-~]?|\\u001b\\][^\\u0007\\u001b]*(?:\\u0007|\\u001b\\\\)?"
  + "|\\u001b.?|[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]", "g");
const BIDI = /[\u202a-\u202e\u2066-\u2069\u200e\u200f]/g;
const FLAGS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse" };
const ENDS = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 39: ["front"], 49: ["back"] };

/** The nearest of the sixteen colours to one of the 256, or of red, green, blue. @param {number} n */
function ofPalette(n) {
  if (n < 16) return n;
  if (n >= 232) return n < 238 ? 0 : n < 244 ? 8 : n < 250 ? 7 : 15;
  const cube = n - 16;
  return ofRgb(Math.floor(cube / 36) * 51, (Math.floor(cube / 6) % 6) * 51, (cube % 6) * 51);
}

/** @param {number} red @param {number} green @param {number} blue */
function ofRgb(red, green, blue) {
  const bright = Math.max(red, green, blue) > 191 ? 8 : 0;
  const bits = (red > 95 ? 1 : 0) | (green > 95 ? 2 : 0) | (blue > 95 ? 4 : 0);
  return bits + (bits === 0 ? 0 : bright);
}

/** @param {number[]} codes @param {number} at @returns {[number | undefined, number]} colour, and codes eaten */
function extended(codes, at) {
  if (codes[at + 1] === 5) return [ofPalette(codes[at + 2] ?? 0), 2];
  if (codes[at + 1] === 2) return [ofRgb(codes[at + 2] ?? 0, codes[at + 3] ?? 0, codes[at + 4] ?? 0), 4];
  return [undefined, 0];
}

/** The style after the codes of one "select graphic rendition". @param {Style} style @param {string} text */
export function restyled(style, text) {
  /** @type {any} */
  let next = { ...style };
  const codes = text.split(/[;:]/).map((code) => Number(code || 0));
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (code === 0) next = {};
    else if (code in FLAGS) next[/** @type {any} */ (FLAGS)[code]] = true;
    else if (code in ENDS) for (const name of /** @type {any} */ (ENDS)[code]) delete next[name];
    else if (code >= 30 && code <= 37) next.front = code - 30;
    else if (code >= 90 && code <= 97) next.front = code - 82;
    else if (code >= 40 && code <= 47) next.back = code - 40;
    else if (code >= 100 && code <= 107) next.back = code - 92;
    else if (code === 38 || code === 48) {
      const [colour, eaten] = extended(codes, at);
      if (colour !== undefined) next[code === 38 ? "front" : "back"] = colour;
      at += eaten;
    }
  }
  return /** @type {Style} */ (next);
}

/** @param {Style} style */
function classesOf(style) {
  const names = ["bold", "dim", "italic", "underline", "inverse"].filter((name) => /** @type {any} */ (style)[name]);
  if (style.front !== undefined) names.push(`f${style.front}`);
  if (style.back !== undefined) names.push(`b${style.back}`);
  return names.map((name) => `sgr-${name}`).join(" ");
}

/** Characters that turn the reading direction stay visible instead of working. @param {string} text */
const plain = (text) => text.replace(BIDI, (sign) => `⟨U+${sign.charCodeAt(0).toString(16).toUpperCase()}⟩`);

/** One line as spans, and the style that the next line begins with.
 * @param {string} line @param {Style} [style] @returns {{spans: Span[], style: Style}} */
export function spansOf(line, style = {}) {
  /** @type {Span[]} */
  const spans = [];
  const add = (/** @type {string} */ text) => { if (text) spans.push({ text: plain(text), classes: classesOf(style) }); };
  let from = 0;
  for (const found of line.matchAll(ESCAPES)) {
    add(line.slice(from, found.index));
    from = found.index + found[0].length;
    if (found[2] === "m") style = restyled(style, found[1]);
  }
  add(line.slice(from));
  return { spans, style };
}

/** The line without any escape, for searching. @param {string} line */
export const bare = (line) => plain(line.replace(ESCAPES, ""));
