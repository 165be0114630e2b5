// Whether what the screen shows is true just now; always visible, and market orders ask it.

import { FEED_SILENT_MS, judged } from "./connection-state.js";
import { part, write } from "./dom.js";

const pill = part("link");
const text = part("link-text");

export class Connection {
  constructor(desk, sync) {
    this.desk = desk;
    this.sync = sync;
    this.states = {
      market: { name: "connecting" },
      account: { name: "connecting" },
      updates: { name: "open" },
      feed: { name: "unknown" },
    };
    this.lost = false;
    desk.on("second", () => this.show());
    desk.on("clock", () => this.show());
  }

  market(state) {
    this.states.market = state;
    // What the last connection said of the feed may be over.
    if (state.name === "connecting") this.states.feed = { name: "unknown" };
    this.refused(state);
    this.show();
  }

  account(state) {
    this.states.account = state;
    if (state.name === "connecting") this.updates(true);
    this.refused(state);
    this.show();
  }

  /** A heartbeat of the account's stream: whether all that had to be here by then has arrived. */
  updates(whole) {
    this.states.updates = { name: whole ? "open" : "behind" };
    this.show();
  }

  // Whoever is refused may have been logged out: an answer of the API leads to the door then.
  refused({ why }) {
    if (why) this.sync.clock();
  }

  /** A heartbeat: how far the market has come, and how long the feed has said nothing. */
  pulse({ at, quietMs, current }) {
    if (at !== null && this.desk.market.mode !== "live") this.desk.market.observe(at, Date.now());
    const name = quietMs > FEED_SILENT_MS ? "silent" : current ? "open" : "behind";
    this.states.feed = { name, quietMs };
    this.show();
  }

  /** Connect at once when the machine is back on the net or the page is looked at again. */
  hurries(sockets) {
    const hurry = () => sockets.forEach((socket) => socket.hurry());
    addEventListener("online", hurry);
    document.addEventListener("visibilitychange", () => document.hidden || hurry());
  }

  show() {
    const now = judged({ ...this.states, lost: this.lost }, Date.now(), this.desk.market);
    const before = this.desk.connection;
    this.desk.connection = now;
    pill.dataset.kind = now.shown ?? now.kind;
    write(text, now.text);
    if (now.kind === before.kind) return;
    if (now.kind === "live" && this.lost) this.sync.everything();
    this.lost = now.kind !== "live" && (this.lost || now.kind !== "connecting");
    this.desk.tell("connection", { now, before });
  }
}
