// One EventSource per address, however many behaviours listen; reconnects from where it was.

const NAMES = ["log", "state", "progress", "end"];
const WAITS_S = [1, 2, 4, 8, 15];

/** @typedef {{data: any, name: string}} Heard */

class Stream extends EventTarget {
  /** @param {string} url */
  constructor(url) {
    super();
    this.first = new URL(url, document.baseURI).href;
    this.url = new URL(this.first);
    this.readers = 0;
    this.tries = 0;
    /** @type {EventSource | undefined} */
    this.source = undefined;
    /** @type {number | undefined} */
    this.timer = undefined;
  }

  open() {
    this.source = new EventSource(this.url);
    this.source.onopen = () => { this.tries = 0; this.tell("link", "live"); };
    this.source.onerror = () => this.again();
    for (const name of NAMES) {
      this.source.addEventListener(name, (event) => {
        if (event.lastEventId) this.url.searchParams.set("after", event.lastEventId);
        this.tell(name, JSON.parse(event.data || "null"));
        if (name === "end") this.close("ended");
      });
    }
  }

  /** Tell everything again, from the place that the page named. */
  rewind() {
    clearTimeout(this.timer);
    this.source?.close();
    this.url = new URL(this.first);
    this.open();
  }

  // The browser's own retry would ask for the old place again, so it is closed and asked anew.
  again() {
    this.close("lost");
    const wait = WAITS_S[Math.min(this.tries, WAITS_S.length - 1)];
    this.tries += 1;
    this.timer = setTimeout(() => this.open(), wait * 1000);
  }

  /** @param {string} link */
  close(link) {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = undefined;
    this.tell("link", link);
  }

  /** @param {string} name @param {unknown} detail */
  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** @type {Map<string, Stream>} */
const streams = new Map();

/** Listens to a stream; the answer ends that.
 * @param {string} url @param {Record<string, (detail: any) => void>} heard @returns {() => void} */
export function listen(url, heard) {
  const stream = streams.get(url) ?? new Stream(url);
  const stop = new AbortController();
  for (const [name, act] of Object.entries(heard)) {
    stream.addEventListener(name, (event) => act(/** @type {CustomEvent} */ (event).detail), { signal: stop.signal });
  }
  streams.set(url, stream);
  stream.readers += 1;
  // Behaviours load side by side: who comes after the first pieces of the log would miss them.
  if (stream.source && heard.log) stream.rewind();
  else if (stream.readers === 1) setTimeout(() => { if (stream.readers > 0 && !stream.source) stream.open(); });
  return () => {
    stop.abort();
    stream.readers -= 1;
    if (stream.readers > 0) return;
    stream.close("left");
    streams.delete(url);
  };
}
