// What the screen knows and who wants to hear of it: the one place where its parts meet.

import { MarketTime } from "./market-time.js";
import { Orders } from "./orders.js";
import { Ticks } from "./ticks.js";

/**
 * Topics of what is known: "ticks" (each frame with news), "orders", "portfolio", "watchlist",
 * "assets", "snapshots", "clock", "day" (of the market, each new one), "second", "connection",
 * "bar", "trade", "bars-missed", "amended"; of the chart: "bars", "bars-moved", "bars-shown",
 * "theme"; of what the person wants: "select", "search", "ticket", "view", "tab", "cancel",
 * "cancel-all".
 */
export class Desk {
  constructor({ mode, speed }) {
    this.listeners = new Map();
    this.ticks = new Ticks();
    this.market = new MarketTime({ mode, speed });
    this.orders = new Orders();
    this.assets = new Map(); // by symbol
    this.watched = [];
    this.positions = null;
    this.account = null;
    this.selected = null;
    this.connection = { kind: "connecting", text: "Connecting", since: null };
  }

  on(topic, listener) {
    if (!this.listeners.has(topic)) this.listeners.set(topic, []);
    this.listeners.get(topic).push(listener);
  }

  /** Tell each listener; what goes wrong in one is logged, and the others hear it all the same. */
  tell(topic, detail) {
    for (const listener of this.listeners.get(topic) ?? []) {
      try {
        listener(detail);
      } catch (error) {
        console.error(`A listener to "${topic}" failed:`, error);
      }
    }
  }

  /** Put one symbol in the middle of the screen. */
  select(symbol) {
    if (!symbol || symbol === this.selected) return;
    this.selected = symbol;
    this.tell("select", symbol);
  }

  /** Every symbol whose price the screen shows. */
  get shown() {
    const held = (this.positions ?? []).map((position) => position.symbol);
    const ordered = this.orders.open.map((order) => order.symbol);
    return new Set([...this.watched, ...held, ...ordered, this.selected].filter(Boolean));
  }

  position(symbol) {
    return this.positions?.find((position) => position.symbol === symbol) ?? null;
  }

  /** Why prices cannot be trusted now, as a sentence that stays the same; null: they can. */
  staleness(symbol) {
    const { kind, text, word = text } = this.connection;
    if (kind !== "live") return `Quotes are not live: ${word}.`;
    const { missed, streamed, quoteAt } = this.ticks.get(symbol);
    if (missed) return `Messages of ${symbol} were lost; asking again.`;
    return streamed || quoteAt === null ? null : `Quotes of ${symbol} are not live yet.`;
  }
}
