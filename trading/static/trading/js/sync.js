// Fetches what the streams do not carry, and again whenever they may have lost something.

import * as api from "./api.js";
import { day } from "./new-york.js";
import { coalesced, gathered } from "./refresh.js";
import { delay } from "./socket.js";

const CLOCK_MS = 10_000;
const SNAPSHOT_MS = 60_000; // previous closes roll at midnight, halts come and go
const PORTFOLIO_MS = 30_000; // a net under the trade updates
const NEWS_MS = 100; // an order's acceptance, admission and fill are told one after the other
export const STORED_MS = 2_000; // by then what was streamed is in the history
const FINISHED_ORDERS = 50;
const SYMBOLS_A_CALL = 100;
export const NOTHING_TRADED = "What is traded here is not known yet";

export class Sync {
  /** `failed(error)` is told what could not be fetched; it is tried again until it is. */
  constructor(desk, failed) {
    this.desk = desk;
    this.failed = failed;
    this.timers = [];
    this.portfolio = this.guarded(() => this.loadPortfolio());
    this.portfolioSoon = gathered(this.portfolio, NEWS_MS);
    this.orders = this.guarded(() => this.loadOrders());
    this.snapshots = this.guarded(() => this.loadSnapshots());
    this.snapshotsStored = gathered(this.snapshots, STORED_MS);
    this.clock = this.guarded(() => this.loadClock());
    this.assets = this.guarded(() => this.loadAssets());
  }

  /** Fetch everything now, and keep fetching what ages. */
  start() {
    this.timers = [
      setInterval(this.clock, CLOCK_MS),
      setInterval(this.snapshots, SNAPSHOT_MS),
      setInterval(this.portfolio, PORTFOLIO_MS),
    ];
    return Promise.all([this.clock(), this.portfolio(), this.orders(), this.assets()]);
  }

  /** Fetch no more of itself what ages. */
  stop() {
    for (const timer of this.timers) clearInterval(timer);
  }

  /** Something was lost on the way: ask for all of it. */
  everything() {
    this.clock();
    this.portfolio();
    this.orders();
    this.snapshots();
  }

  guarded(load) {
    let failures = 0;
    let retry;
    const run = coalesced(async () => {
      clearTimeout(retry);
      try {
        await load();
        failures = 0;
      } catch (error) {
        if (error.code === api.ANOTHER_ACCOUNT) return; // no answer comes on this page again
        retry = setTimeout(run, delay(failures++));
        this.failed(error);
      }
    });
    return run;
  }

  async loadClock() {
    const sent = Date.now();
    const [clock, market] = await Promise.all([api.get("/v2/clock"), api.get("/api/market")]);
    this.desk.market.set({ ...market, ...clock }, (sent + Date.now()) / 2);
    const today = day(Date.parse(clock.timestamp));
    if (this.today !== today) this.desk.tell("day");
    this.today = today;
    await this.loadHours(today);
    this.desk.tell("clock");
  }

  // Once a day of the market: from when to when its sessions last.
  async loadHours(date) {
    if (this.hoursOf === date) return;
    if (this.hoursOf) this.snapshots(); // yesterday's last price is now the previous close
    const [hours = null] = await api.get("/v2/calendar", { start: date, end: date });
    this.desk.market.hours = hours?.date === date ? hours : null;
    this.hoursOf = date;
  }

  async loadPortfolio() {
    const [account, positions] = await Promise.all([
      api.get("/v2/account"),
      api.get("/v2/positions"),
    ]);
    Object.assign(this.desk, { account, positions });
    this.desk.tell("portfolio");
  }

  async loadOrders() {
    const known = new Set(this.desk.orders.open.map(({ id }) => id));
    const [open, closed] = await Promise.all([
      api.get("/v2/orders", { status: "open", limit: 500, nested: true }),
      api.get("/v2/orders", { status: "closed", limit: FINISHED_ORDERS, nested: true }),
    ]);
    this.desk.orders.replaceOpen(open, known);
    this.desk.orders.put(closed);
    this.desk.tell("orders");
  }

  async loadAssets() {
    const assets = await api.get("/v2/assets", { status: "active" });
    if (assets.length === 0) throw new api.NoAnswer(NOTHING_TRADED);
    this.desk.assets = new Map(assets.map((asset) => [asset.symbol, asset]));
    for (const { symbol, tradable } of assets) {
      // Where the stream tells of a symbol it has told of halts, and later than this answer.
      if (!this.desk.ticks.get(symbol).streamed) this.desk.ticks.halt(symbol, !tradable);
    }
    this.desk.tell("assets");
  }

  async loadSnapshots() {
    const symbols = [...this.desk.shown];
    for (let at = 0; at < symbols.length; at += SYMBOLS_A_CALL) {
      const asked = symbols.slice(at, at + SYMBOLS_A_CALL).join(",");
      const snapshots = await api.get("/v2/stocks/snapshots", { symbols: asked });
      const today = day(this.desk.market.now(Date.now()) ?? Date.now());
      for (const [symbol, snapshot] of Object.entries(snapshots)) {
        this.desk.ticks.snapshot(symbol, snapshot, today);
      }
    }
    this.desk.tell("snapshots");
  }
}
