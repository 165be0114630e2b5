// The person's watchlist, kept by the server so that it is the same on every machine.

import * as api from "./api.js";
import { delay } from "./socket.js";
import { NOTHING_TRADED } from "./sync.js";

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
    this.failures = 0;
    this.changed = Promise.resolve();
  }

  /** Load the first list, or make one; until that is done, show what a new list starts with. */
  async load() {
    try {
      this.show((await this.stored()) ?? (await this.made()));
    } catch (error) {
      setTimeout(() => this.load(), delay(this.failures++));
      this.notices.trouble(error);
      this.desk.watched = this.first();
      this.desk.tell("watchlist");
    }
  }

  async stored() {
    const [list] = await api.get("/v2/watchlists");
    return list ? api.get(`/v2/watchlists/${list.id}`) : null;
  }

  made() {
    const symbols = this.first();
    if (symbols.length === 0) throw new api.NoAnswer(NOTHING_TRADED);
    return api.post("/v2/watchlists", { name: NAME, symbols });
  }

  add(symbol) {
    if (this.desk.watched.includes(symbol)) return Promise.resolve();
    return this.change(`add ${symbol}`, () => api.post(`/v2/watchlists/${this.id}`, { symbol }));
  }

  remove(symbol) {
    const path = `/v2/watchlists/${this.id}/${encodeURIComponent(symbol)}`;
    return this.change(`remove ${symbol}`, () => api.remove(path));
  }

  // One after the other: each answer is the whole list, and the last one is what is shown.
  change(what, request) {
    this.changed = this.changed.then(() => this.changeNow(what, request));
    return this.changed;
  }

  async changeNow(what, request) {
    try {
      if (this.id === null) throw new api.NoAnswer("The watchlist is not loaded yet");
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
