// The three lines about elements that several behaviours would repeat.

/** Listens, and gives what ends it.
 * @param {EventTarget} target @param {string} type @param {(event: any) => void} act
 * @param {AddEventListenerOptions} [options] @returns {() => void} */
export function on(target, type, act, options) {
  target.addEventListener(type, act, options);
  return () => target.removeEventListener(type, act, options);
}

/** @param {Array<() => void>} undoings @returns {() => void} */
export const all = (undoings) => () => undoings.forEach((undo) => undo());

/** @param {ParentNode} root @param {string} selector @returns {HTMLElement} */
export function part(root, selector) {
  const found = root.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`${selector} is missing`);
  return found;
}

export const lang = () => document.documentElement.lang || "en";
