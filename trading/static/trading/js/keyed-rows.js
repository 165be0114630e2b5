// Table rows by key: a row whose record did not change stays as it is, focus included.

import { arrange } from "./dom.js";

export class KeyedRows {
  constructor(body) {
    this.body = body;
    this.body.tabIndex = -1; // holds the focus of a row that is no more
    this.rows = new Map();
  }

  /**
   * Show records in this order; `build` makes the row of a new or changed one, and of each where what
   * they share (`shared`) is another.
   */
  show(records, build, shared = null) {
    const before = this.rows;
    this.rows = new Map();
    for (const record of records) {
      const state = JSON.stringify([record, shared]);
      const known = before.get(record.id);
      const same = known?.state === state;
      this.rows.set(record.id, same ? known : { state, node: replacement(known, build(record)) });
    }
    const focused = this.body.contains(document.activeElement);
    arrange(
      this.body,
      [...this.rows.values()].map(({ node }) => node),
    );
    if (focused && !this.body.contains(document.activeElement)) {
      this.body.focus({ preventScroll: true });
    }
  }
}

// A changed row takes the place of the old one. The focus stays on the control that reads the same,
// on the row where there is none: never on another one, which the next key would press.
function replacement(known, node) {
  const focused = known?.node.contains(document.activeElement) ? document.activeElement : null;
  known?.node.replaceWith(node);
  if (focused === null) return node;
  node.tabIndex = -1;
  const same = [...node.querySelectorAll("button:not(:disabled)")].find(
    (button) => focused !== known.node && button.textContent === focused.textContent,
  );
  (same ?? node).focus({ preventScroll: true });
  return node;
}
