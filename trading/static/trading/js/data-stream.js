// Market data of the symbols on the screen: keeps the subscription equal to what is watched, checks
// with each heartbeat that nothing was lost, and asks anew where something was.

import { Integrity } from "./integrity.js";
import { Socket } from "./socket.js";

const EACH = ["quotes", "trades", "statuses"];
// Heartbeats without an answer to a request, after which it is asked again.
const UNANSWERED_MAX = 3;
const FOLDS = { q: "quote", t: "trade", s: "status" };

export class DataStream {
  /**
   * `ticks` takes quotes, trades and statuses, and `heard` is told that it did. `bar` and `trade`
   * hear of the charted symbol, `pulse({at, quietMs, current})` how alive the feed is, and `missed()`
   * that something is to be fetched anew.
   */
  constructor(url, ticks, { changed, heard, bar, trade, pulse, missed }) {
    Object.assign(this, { ticks, heard, bar, trade, pulse, missed });
    this.integrity = new Integrity();
    this.wanted = new Set();
    this.subscribed = new Set();
    this.charted = null;
    this.ready = false;
    this.resyncs = 0; // the id of the last request to be told anew
    this.healing = new Set(); // symbols it was answered for
    this.asked = false; // and whether that answer is awaited
    this.askAgain = false; // for something was lost since
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
    this.healing.clear();
    this.asked = this.askAgain = false;
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
        if (message.resync === this.resyncs) this.healing.add(message.S);
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

  beat({ t, quiet_ms: quietMs, sent, quotes, trades, current = true }) {
    const late = [
      ...this.ticks.behind(this.watched(quotes)),
      ...this.integrity.behind(this.watched(trades)),
    ];
    if (!this.integrity.agrees(sent)) this.lost([...this.subscribed]);
    else if (late.length > 0) this.lost(late);
    else if (current) this.heal();
    this.pulse({ at: t ? Date.parse(t) : null, quietMs: quietMs ?? null, current });
  }

  // The places of those symbols that are subscribed still.
  watched(places = {}) {
    const kept = Object.entries(places).filter(([symbol]) => this.subscribed.has(symbol));
    return Object.fromEntries(kept);
  }

  lost(symbols) {
    for (const symbol of symbols) this.ticks.miss(symbol);
    this.healing.clear();
    if (this.asked) this.askAgain = true;
    else this.resync();
    this.missed();
  }

  resync() {
    Object.assign(this, { asked: true, askAgain: false, unanswered: 0 });
    this.socket.send({ action: "resync", id: (this.resyncs += 1) });
  }

  // A heartbeat agrees after the snapshots that were asked for: they can be trusted again.
  heal() {
    if (this.healing.size === 0) {
      if (this.asked && (this.unanswered += 1) > UNANSWERED_MAX) this.resync();
      return;
    }
    this.asked = false;
    if (this.askAgain) this.resync();
    else for (const symbol of this.healing) this.ticks.heal(symbol);
    this.healing.clear();
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
