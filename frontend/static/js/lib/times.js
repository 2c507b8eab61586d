// Instants and durations in words, by Intl and the language of the page. Pure.

/** @type {Array<[Intl.RelativeTimeFormatUnit, number]>} */
const STEPS = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];

/** "3 minutes ago". @param {number} fromMs @param {number} nowMs @param {string} lang */
export function relative(fromMs, nowMs, lang) {
  const seconds = (fromMs - nowMs) / 1000;
  const words = new Intl.RelativeTimeFormat(lang, { numeric: "auto", style: "short" });
  if (Math.abs(seconds) < 5) return words.format(0, "second");
  const [unit, size] = STEPS.find(([, step]) => Math.abs(seconds) >= step) ?? ["second", 1];
  return words.format(Math.trunc(seconds / size), unit);
}

/** The whole instant in the reader's zone. @param {number} ms @param {string} lang */
export function exact(ms, lang) {
  return new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "long" }).format(ms);
}

/** "1 h 02 min", "4 min 09 s", "12 s": units are the same in every language. @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86_400)} d ${two(Math.floor((whole % 86_400) / 3600))} h`;
}
