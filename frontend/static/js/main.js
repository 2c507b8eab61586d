// Finds [data-behaviour], imports what it names and mounts it; again after each htmx swap.

/** @type {WeakMap<Element, Array<() => void>>} what undoes the behaviours of an element */
const undoings = new WeakMap();

/** @param {Element} element */
async function mount(element) {
  if (undoings.has(element)) return;
  /** @type {Array<() => void>} */
  const undo = [];
  undoings.set(element, undo);
  for (const name of (element.getAttribute("data-behaviour") ?? "").split(/\s+/).filter(Boolean)) {
    const behaviour = await import(`./behaviours/${name}.js`);
    if (!element.isConnected) return;
    const undone = behaviour.mount(element);
    if (undone) undo.push(undone);
  }
}

/** @param {Element} element */
function unmount(element) {
  for (const undo of undoings.get(element) ?? []) undo();
  undoings.delete(element);
}

/** @param {ParentNode & Node} root @param {(element: Element) => void} act */
function each(root, act) {
  if (root instanceof Element && root.matches("[data-behaviour]")) act(root);
  root.querySelectorAll("[data-behaviour]").forEach(act);
}

each(document, mount);

// One observer sees what htmx, a dialog or a behaviour brings and takes away.
new MutationObserver((changes) => {
  for (const change of changes) {
    for (const node of change.removedNodes) {
      if (node instanceof Element && !node.isConnected) each(node, unmount);
    }
    for (const node of change.addedNodes) {
      if (node instanceof Element && node.isConnected) each(node, mount);
    }
  }
}).observe(document.body, { childList: true, subtree: true });

// A refused form (422) and a refused action are shown where the answer belongs.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { detail } = /** @type {CustomEvent} */ (event);
  if (detail.xhr.status === 422) detail.shouldSwap = true;
});
