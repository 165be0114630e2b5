// The person's watchlist, kept by the server so that it is the same on every machine.

import * as api from "./api.js";

const NAME = "Watchlist";
const AT_FIRST = 12;
// What a new list starts with, as far as the market has them.
const KNOWN = [
  "SPY",
  "AAPL",
  "MSFT",
  "NVDA",
  "AMZN",
  "GOOGL",
  "META",
  "TSLA",
  "JPM",
  "XOM",
  "IBM",
  "BAC",
];

export class Watchlists {
  constructor(desk, notices) {
    this.desk = desk;
    this.notices = notices;
    this.id = null;
  }

  /** Load the first list, or make one. */
  async load() {
    try {
      const lists = await api.get("/v2/watchlists");
      const list = lists.length
        ? await api.get(`/v2/watchlists/${lists[0].id}`)
        : await api.post("/v2/watchlists", { name: NAME, symbols: this.first() });
      this.show(list);
    } catch (error) {
      this.notices.trouble(error);
      this.desk.watched = this.first();
      this.desk.tell("watchlist");
    }
  }

  add(symbol) {
    if (this.desk.watched.includes(symbol)) return Promise.resolve();
    return this.change(`add ${symbol}`, () => api.post(`/v2/watchlists/${this.id}`, { symbol }));
  }

  remove(symbol) {
    const path = `/v2/watchlists/${this.id}/${encodeURIComponent(symbol)}`;
    return this.change(`remove ${symbol}`, () => api.remove(path));
  }

  async change(what, request) {
    try {
      this.show(await request());
    } catch (error) {
      this.notices.refused(error, `Request to ${what}`);
    }
  }

  show(list) {
    this.id = list.id;
    this.desk.watched = list.assets.map((asset) => asset.symbol);
    this.desk.tell("watchlist");
  }

  first() {
    const listed = [...this.desk.assets.keys()];
    const known = KNOWN.filter((symbol) => this.desk.assets.has(symbol));
    return [...new Set([...known, ...listed])].slice(0, AT_FIRST);
  }
}
