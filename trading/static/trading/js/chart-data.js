// The bars of the charted symbol: stored history, and the live bar that grows with each trade.

import * as api from "./api.js";
import {
  bucket, candle, caughtUp, grown, isWithdrawn, MOST_BARS, placed, TIMEFRAMES,
} from "./candles.js";
import { delay } from "./socket.js";
import { STORED_MS } from "./sync.js";

const STREAMED = { b: "1Min", u: "1Min", d: "1Day" }; // which timeframe a streamed bar is of
const DAY_MS = 86_400_000;

export class ChartData {
  /**
   * `replaced(bars)` is told of a new list, null while one is loaded; `moved(bar)` of the newest
   * bar's new shape. What streams in while a list is loaded waits for it.
   */
  constructor(desk, { replaced, moved, failed }) {
    Object.assign(this, { desk, replaced, moved, failed });
    this.timeframe = "1Min";
    this.bars = [];
    this.isLoaded = false;
    this.corrected = new Set(); // starts of bars that changed since they were fetched
    this.asked = 0;
    this.failures = 0;
    desk.on("select", () => this.load());
    desk.on("trade", (trade) => this.onTrade(trade));
    desk.on("bar", (bar) => this.onBar(bar));
    desk.on("bars-missed", () => this.fetchSoon());
    desk.on("amended", (symbol) => this.onAmended(symbol));
    desk.on("connection", ({ now, before }) => {
      if (now.kind === "live" && before.kind !== "connecting") this.load();
    });
  }

  show(timeframe) {
    this.timeframe = timeframe;
    this.load();
  }

  /** Load the newest bars; an answer that another request has overtaken is dropped. */
  load() {
    if (!this.desk.selected) return undefined;
    this.bars = [];
    this.isLoaded = false;
    this.replaced(null);
    return this.fetch();
  }

  async fetch() {
    const symbol = this.desk.selected;
    const asked = ++this.asked;
    const corrected = new Set(this.corrected);
    try {
      const answer = await api.get("/v2/stocks/bars", this.query(symbol));
      if (asked !== this.asked) return;
      const stored = (answer.bars[symbol] ?? []).map(candle).reverse();
      this.bars = caughtUp(stored, this.bars, corrected);
      this.isLoaded = true;
      this.failures = 0;
      for (const start of corrected) this.corrected.delete(start);
      this.replaced(this.bars);
    } catch (error) {
      if (asked !== this.asked) return;
      this.fetchSoon(delay(this.failures++));
      if (!this.isLoaded) this.failed(error);
    }
  }

  fetchSoon(ms = STORED_MS) {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.fetch();
    }, ms);
  }

  query(symbol) {
    const now = this.desk.market.now(Date.now()) ?? Date.now();
    const start = new Date(now - TIMEFRAMES[this.timeframe].lookbackDays * DAY_MS);
    const { timeframe } = this;
    return {
      symbols: symbol,
      timeframe,
      adjustment: "split",
      start: start.toISOString(),
      limit: MOST_BARS,
      sort: "desc",
    };
  }

  onTrade(trade) {
    if (trade.S !== this.desk.selected || this.bars.length === 0) return;
    const last = this.bars.at(-1);
    const bar = grown(last, this.timeframe, trade);
    if (bar !== last) this.put(bar);
  }

  onBar(message) {
    if (message.S !== this.desk.selected) return;
    if (STREAMED[message.T] !== this.timeframe) {
      // A longer bar is made of minutes, and only the server knows the others.
      if (message.T === "u" && this.timeframe !== "1Day") this.onCorrection(message);
    } else if (isWithdrawn(message)) {
      const { time } = candle(message);
      this.bars = this.bars.filter((bar) => bar.time !== time);
      if (this.isLoaded) this.replaced(this.bars);
    } else {
      this.put(candle(message));
    }
  }

  // A bar that is over is told anew; the growing one has a trade in it that may never have been.
  onAmended(symbol) {
    if (symbol !== this.desk.selected || this.bars.length === 0) return;
    this.corrected.add(this.bars.at(-1).time);
    this.fetchSoon();
  }

  onCorrection(message) {
    this.corrected.add(bucket(this.timeframe, candle(message).time));
    this.fetchSoon();
  }

  put(bar) {
    const newest = this.bars.at(-1);
    this.bars = placed(this.bars, bar);
    if (!this.isLoaded) return;
    if (newest && bar.time < newest.time) this.replaced(this.bars);
    else this.moved(bar);
  }
}
