// The log of a job: follows the stream, pauses when one scrolls away, searches, wraps.
import { bare } from "../lib/ansi.js";
import { all, on, part } from "../lib/dom.js";
import { Lines, hitsIn } from "../lib/lines.js";
import { LogView } from "../lib/log-view.js";
import { listen } from "../lib/stream.js";

const NEAR_PX = 24; // so near to the end counts as at the end

/** @param {HTMLElement} element */
export function mount(element) {
  const words = element.dataset; // the sentences, in the language of the page
  const view = part(element, ".log__view");
  const follow = part(element, "[data-log-follow]");
  const count = part(element, ".log__count");
  const search = /** @type {HTMLInputElement} */ (part(element, "[data-log-search]"));
  const lines = new Lines();
  const holder = part(element, ".log__lines");
  const shown = new LogView(view, holder, lines);
  /** @type {number[]} */
  let hits = [];
  let at = -1; // the current hit
  let following = true;
  let begun = false;
  let dirty = Infinity; // the first line that the screen does not show yet
  /** @type {{attempt: string, to: number}} */
  let place = { attempt: "", to: 0 };

  /** @param {boolean} yes */
  const setFollowing = (yes) => {
    following = yes;
    follow.setAttribute("aria-pressed", String(yes));
    if (yes) view.scrollTop = view.scrollHeight;
  };
  const tell = () => {
    part(element, "[data-log-lines]").textContent = (words.linesWords ?? "%s").replace("%s", lines.count.toLocaleString());
    count.textContent = search.value === "" ? ""
      : (words.hitsWords ?? "%s/%s").replace("%s", (at + 1).toLocaleString()).replace("%s", hits.length.toLocaleString());
  };
  const paint = () => {
    if (dirty === Infinity) return;
    const first = dirty;
    dirty = Infinity;
    shown.show(first);
    if (search.value) {
      const kept = hits.filter((index) => index < first);
      hits = kept.concat(hitsIn(lines, search.value, bare, first));
    }
    tell();
    if (following) view.scrollTop = view.scrollHeight;
  };
  /** @param {string} text */
  const add = (text) => {
    if (!begun) part(element, "[data-log-empty]").hidden = true;
    begun = true;
    if (dirty === Infinity) requestAnimationFrame(paint);
    dirty = Math.min(dirty, lines.add(text));
  };
  /** A line of ours between those of the job. @param {string} text */
  const remark = (text) => add(`${lines.all[lines.all.length - 1] ? "\n" : ""}\u001b[33m── ${text} ──\u001b[0m\n`);

  /** @param {{attempt: number, from: number, to: number, text: string}} piece */
  const heard = (piece) => {
    const attempt = String(piece.attempt);
    if (attempt !== place.attempt) {
      if (place.attempt) remark(words.attempt ?? "");
      place = { attempt, to: piece.from };
    }
    if (piece.to <= place.to) return; // sent again after a reconnect
    if (piece.from > place.to) remark((words.gap ?? "%s").replace("%s", (piece.from - place.to).toLocaleString()));
    add(piece.text);
    place.to = piece.to;
  };

  const seek = () => {
    hits = hitsIn(lines, search.value, bare);
    at = hits.length - 1; // the latest: that is what one looks for in a log
    go(0);
  };
  /** @param {number} step */
  const go = (step) => {
    if (hits.length > 0) at = (at + step + hits.length) % hits.length;
    shown.mark({ words: search.value, current: hits[at] ?? -1 });
    if (hits.length > 0) { setFollowing(false); shown.reveal(hits[at]); }
    tell();
  };
  /** @param {{log_ending: string, message: string}} how */
  const ended = (how) => {
    if (how.log_ending && how.log_ending !== "complete") words.ended = how.message;
    if (!begun) part(element, "[data-log-empty]").textContent = words.nothing ?? "";
  };
  /** @param {string} link */
  const linked = (link) => {
    element.dataset.link = link;
    const said = { live: words.live, lost: words.lost, ended: words.ended }[link];
    if (said) part(element, ".log__status").textContent = said;
  };

  let last = 0;
  return all([
    listen(element.dataset.stream ?? "", { log: heard, link: linked, end: ended }),
    () => shown.clear(),
    on(view, "scroll", () => {
      const away = view.scrollHeight - view.scrollTop - view.clientHeight > NEAR_PX;
      if (view.scrollTop < last && away && following) setFollowing(false);
      else if (!away && !following && view.scrollTop > last) setFollowing(true);
      last = view.scrollTop;
    }, { passive: true }),
    on(follow, "click", () => setFollowing(!following)),
    on(part(element, "[data-log-wrap]"), "click", (event) => {
      const wrapped = element.classList.toggle("log--wrap");
      event.currentTarget.setAttribute("aria-pressed", String(wrapped));
      shown.mark(shown.search);
      if (following) setFollowing(true);
    }),
    on(search, "input", seek),
    on(search, "keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      go(event.shiftKey ? -1 : 1);
    }),
    on(part(element, "[data-log-next]"), "click", () => go(1)),
    on(part(element, "[data-log-previous]"), "click", () => go(-1)),
  ]);
}
