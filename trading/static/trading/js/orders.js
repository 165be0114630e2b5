// The orders of the account as the screen knows them: the newest state of each, by id.

import { price } from "./format.js";

export const FINISHED = new Set(["filled", "canceled", "expired", "replaced", "rejected"]);
// The server's, trading/states.py.
const CANCELABLE = new Set(["accepted", "new", "partially_filled", "held", "suspended"]);
const MOST_FINISHED = 100; // the list ends somewhere; the API pages through the rest

export class Orders {
  constructor() {
    this.byId = new Map();
  }

  /** Take orders of the API; one that is older than what is known changes nothing. */
  put(orders) {
    for (const order of unfolded(orders)) {
      const known = this.byId.get(order.id);
      const parent = order.parent ?? known?.parent ?? this.byId.get(order.replaces)?.parent ?? null;
      // An update says no parent, and may be faster than the answer that does.
      if (known && !supersedes(order, known)) known.parent = parent;
      else this.byId.set(order.id, { ...order, parent });
    }
    const kept = new Set(this.finished.map(({ id }) => id));
    for (const { id, status } of this.byId.values()) {
      if (FINISHED.has(status) && !kept.has(id)) this.byId.delete(id);
    }
  }

  /**
   * Take the API's complete list of open orders: what is missing there is open no more, of those that
   * were known (`known`: their ids) when it was asked for. Newer ones it may not have seen.
   */
  replaceOpen(orders, known) {
    const listed = new Set(unfolded(orders).map((order) => order.id));
    for (const { id } of this.open) if (known.has(id) && !listed.has(id)) this.byId.delete(id);
    this.put(orders);
  }

  /** Open orders, newest first. */
  get open() {
    return this.sorted((order) => !FINISHED.has(order.status));
  }

  /** Open orders, the legs of each bracket, OCO or OTO under their parent. */
  get arranged() {
    const families = new Map();
    for (const order of this.open) {
      const key = order.parent ?? order.id;
      families.set(key, [order, ...(families.get(key) ?? [])]);
    }
    const parentsFirst = (one, other) => Boolean(one.parent) - Boolean(other.parent);
    return [...families.values()].flatMap((family) => family.sort(parentsFirst));
  }

  /** Finished orders, newest first. */
  get finished() {
    return this.sorted((order) => FINISHED.has(order.status)).slice(0, MOST_FINISHED);
  }

  sorted(wanted) {
    const orders = [...this.byId.values()].filter(wanted);
    return orders.sort(newestFirst);
  }
}

// All are written alike, so that their texts are in the order of their instants.
function newestFirst({ submitted_at: one }, { submitted_at: other }) {
  if (one === other) return 0;
  return one < other ? 1 : -1;
}

// Orders and their legs side by side, each leg with the id of its parent.
function unfolded(orders) {
  return orders.flatMap(({ legs, ...order }) => [
    order,
    ...(legs ?? []).map((leg) => ({ ...leg, parent: order.id })),
  ]);
}

/** What an exit is for, a leg or the first of an OCO; empty for all other orders. */
export function purpose(order) {
  if (!order.parent && order.order_class !== "oco") return "";
  return order.type === "limit" ? "Take profit" : "Stop loss";
}

export function cancelable(order) {
  return CANCELABLE.has(order.status);
}

/** Why an order stands where it stands, in words; empty where there is nothing to say. */
export function reason(order, quote = null, open = true) {
  if (order.reason) return order.reason;
  if (order.status === "accepted") return open ? "Waiting to be admitted" : "Waiting for the open";
  if (order.stop_price) return "Waiting for its stop price";
  const touch = order.side === "buy" ? quote?.ask : quote?.bid;
  if (!touch || !order.limit_price) return "";
  const limit = Number(order.limit_price);
  const [side, apart] = order.side === "buy" ? ["Ask", "above"] : ["Bid", "below"];
  const reached = order.side === "buy" ? touch <= limit : touch >= limit;
  return reached ? "Waiting for size" : `${side} ${price(touch)} is ${apart} the limit`;
}

// A finished order never opens again; otherwise the later update and the larger fill win.
function supersedes(order, known) {
  if (FINISHED.has(known.status) !== FINISHED.has(order.status)) return FINISHED.has(order.status);
  if (Number(order.filled_qty) < Number(known.filled_qty)) return false;
  return order.updated_at >= known.updated_at;
}
