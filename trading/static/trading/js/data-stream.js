// Market data of the symbols on the screen: keeps the subscription equal to what is watched, and
// checks with each heartbeat that nothing was lost.

import { Integrity } from "./integrity.js";
import { Socket } from "./socket.js";

const EACH = ["quotes", "trades", "statuses"];
const FOLDS = { q: "quote", t: "trade", s: "status" };

export class DataStream {
  /**
   * `ticks` takes quotes, trades and statuses, and `heard` is told that it did. `bar` and `trade`
   * hear of the charted symbol, `pulse({at, quietMs})` how alive the feed is, and `missed()` that
   * something is to be fetched anew.
   */
  constructor(url, ticks, { changed, heard, bar, trade, pulse, missed }) {
    Object.assign(this, { ticks, heard, bar, trade, pulse, missed });
    this.integrity = new Integrity();
    this.wanted = new Set();
    this.subscribed = new Set();
    this.charted = null;
    this.ready = false;
    this.socket = new Socket(url, {
      opened: () => this.begin(),
      heard: (messages) => this.hear(messages),
      changed: (state) => {
        if (state.name !== "open" && state.name !== "silent") this.ready = false;
        changed(state);
      },
    });
  }

  /** Watch exactly these symbols, and the bars of one of them. */
  watch(symbols, charted) {
    this.wanted = new Set(symbols);
    this.nextChart = charted;
    if (this.ready) this.settle();
  }

  begin() {
    this.integrity.begin();
    this.subscribed.clear();
    this.charted = null;
  }

  hear(messages) {
    for (const message of messages) {
      if (message.T === "success" && message.msg === "authenticated") {
        this.ready = true;
        this.settle();
      } else if (message.T === "heartbeat") {
        this.beat(message);
      } else if (message.T === "snapshot") {
        this.integrity.startAt(message.S, message.trades);
        this.ticks.standing(message.S, message);
      } else if (message.S) {
        this.fold(message);
      }
    }
    this.integrity.frames += 1;
    this.heard();
  }

  fold(message) {
    const { S: symbol, T: kind } = message;
    if (!this.integrity.follows(message)) this.lost([symbol]);
    if (kind in FOLDS) this.ticks[FOLDS[kind]](symbol, message);
    if (symbol !== this.charted) return;
    if (kind === "t") this.trade(message);
    if ("bud".includes(kind)) this.bar(message);
  }

  beat({ t, quiet_ms: quietMs, sent, quotes }) {
    const places = Object.entries(quotes ?? {}).filter(([symbol]) => this.subscribed.has(symbol));
    const late = this.ticks.behind(Object.fromEntries(places));
    if (!this.integrity.agrees(sent)) this.lost([...this.subscribed]);
    else if (late.length > 0) this.lost(late);
    this.pulse({ at: t ? Date.parse(t) : null, quietMs: quietMs ?? null });
  }

  lost(symbols) {
    for (const symbol of symbols) this.ticks.miss(symbol);
    this.missed();
  }

  // Say what is new and what is no longer wanted; nothing, where nothing changed.
  settle() {
    const added = [...this.wanted].filter((symbol) => !this.subscribed.has(symbol));
    const dropped = [...this.subscribed].filter((symbol) => !this.wanted.has(symbol));
    const chart = this.nextChart !== this.charted;
    this.ask("subscribe", added, chart ? this.nextChart : null);
    this.ask("unsubscribe", dropped, chart ? this.charted : null);
    this.subscribed = new Set(this.wanted);
    this.charted = this.nextChart;
  }

  ask(action, symbols, charted) {
    if (symbols.length === 0 && !charted) return;
    const message = { action };
    if (symbols.length > 0) for (const channel of EACH) message[channel] = symbols;
    if (charted) message.bars = message.updatedBars = message.dailyBars = [charted];
    this.socket.send(message);
  }
}
