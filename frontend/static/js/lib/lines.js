// A growing text as lines: the last may be unfinished, "\r" overwrites as in a terminal. Pure.

const LONGEST = 10_000; // characters of a line that are shown; the download has the rest

export class Lines {
  constructor() {
    /** @type {string[]} complete lines, and last the one that still grows */
    this.all = [""];
  }

  /** Adds text; tells the index of the first line that changed. @param {string} text */
  add(text) {
    const first = this.all.length - 1;
    const parts = (this.all[first] + text).split("\n");
    parts.forEach((part, at) => { this.all[first + at] = at < parts.length - 1 ? settled(part) : part; });
    return first;
  }

  /** How many lines there are to show; an unfinished empty one is none. */
  get count() {
    return this.all.length - (this.all[this.all.length - 1] === "" ? 1 : 0);
  }

  /** @param {number} index */
  shown(index) {
    const line = settled(this.all[index]);
    return line.length > LONGEST ? `${line.slice(0, LONGEST)} …` : line;
  }
}

/** What a terminal shows after carriage returns: the last thing written. @param {string} line */
export function settled(line) {
  if (!line.includes("\r")) return line;
  const kept = line.replace(/\r+$/, "");
  return kept.slice(kept.lastIndexOf("\r") + 1);
}

/** The indexes of the lines that hold the words, whatever their case.
 * @param {Lines} lines @param {string} words @param {(line: string) => string} bare @param {number} [from] */
export function hitsIn(lines, words, bare, from = 0) {
  const wanted = words.toLowerCase();
  const hits = [];
  if (wanted === "") return hits;
  for (let at = from; at < lines.count; at += 1) {
    if (bare(lines.shown(at)).toLowerCase().includes(wanted)) hits.push(at);
  }
  return hits;
}

/** A text cut at each place where the words stand: [text, is it a hit].
 * @param {string} text @param {string} words @returns {Array<[string, boolean]>} */
export function cutAt(text, words) {
  if (words === "") return [[text, false]];
  /** @type {Array<[string, boolean]>} */
  const parts = [];
  const low = text.toLowerCase();
  const wanted = words.toLowerCase();
  let from = 0;
  for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, from)) {
    if (at > from) parts.push([text.slice(from, at), false]);
    parts.push([text.slice(at, at + wanted.length), true]);
    from = at + wanted.length;
  }
  if (from < text.length) parts.push([text.slice(from), false]);
  return parts;
}
