// Table rows by key: a row whose record did not change stays as it is, focus included.

export class KeyedRows {
  constructor(body) {
    this.body = body;
    this.rows = new Map();
  }

  /** Show records in this order; `build` makes the row of a new or changed one. */
  show(records, build) {
    const before = this.rows;
    this.rows = new Map();
    for (const record of records) {
      const state = JSON.stringify(record);
      const known = before.get(record.id);
      const same = known?.state === state;
      this.rows.set(record.id, same ? known : { state, node: replacement(known, build(record)) });
    }
    const nodes = [...this.rows.values()].map(({ node }) => node);
    const still =
      nodes.length === this.body.childElementCount &&
      nodes.every((node, at) => this.body.children[at] === node);
    if (!still) this.body.replaceChildren(...nodes);
  }
}

// A changed row takes the place of the old one, and the focus within it.
function replacement(known, node) {
  const focused = known?.node.contains(document.activeElement);
  known?.node.replaceWith(node);
  if (focused) (node.querySelector("button:not(:disabled)") ?? node).focus();
  return node;
}
