// Whether what the screen shows is true just now; always visible, and market orders ask it.

import { part, write } from "./dom.js";
import { age } from "./format.js";

// The venue's own bound: a feed that says nothing for this long is silent, and nothing fills on it.
const FEED_SILENT_MS = 5_000;

const pill = part("link");
const text = part("link-text");

export class Connection {
  constructor(desk, sync) {
    this.desk = desk;
    this.sync = sync;
    this.states = {
      market: { name: "connecting" },
      account: { name: "connecting" },
      feed: { name: "open", quietMs: 0 },
    };
    this.lost = false;
    desk.on("second", () => this.show());
    desk.on("clock", () => this.show());
  }

  market(state) {
    this.states.market = state;
    this.show();
  }

  account(state) {
    this.states.account = state;
    this.show();
  }

  /** A heartbeat: how far the market has come, and how long the feed has said nothing. */
  pulse({ at, quietMs }) {
    if (at !== null && this.desk.market.mode !== "live") this.desk.market.observe(at, Date.now());
    this.states.feed = { name: quietMs > FEED_SILENT_MS ? "silent" : "open", quietMs };
    this.show();
  }

  /** Connect at once when the machine is back on the net or the page is looked at again. */
  hurries(sockets) {
    const hurry = () => sockets.forEach((socket) => socket.hurry());
    addEventListener("online", hurry);
    document.addEventListener("visibilitychange", () => document.hidden || hurry());
  }

  show() {
    const now = judged(this.states, Date.now(), this.desk.market);
    const before = this.desk.connection;
    this.desk.connection = now;
    pill.dataset.kind = now.shown ?? now.kind;
    write(text, now.text);
    if (now.kind === before.kind) return;
    if (now.kind === "live" && this.lost) this.sync.everything();
    this.lost ||= now.kind !== "live" && now.kind !== "connecting";
    this.desk.tell("connection", { now, before });
  }
}

/** Both streams and the feed as one: {kind, text, shown?}; kind "live" is the only one to trade on. */
export function judged({ market, account, feed }, now, clock) {
  const worst = [market, account].find(({ name }) => name === "waiting") ?? market;
  if (worst.name === "waiting") {
    const left = Math.max(0, (worst.until - now) / 1000);
    return { kind: "reconnecting", text: left < 1 ? "Reconnecting" : `Reconnecting in ${age(left)}` };
  }
  if (market.name === "silent") {
    return { kind: "stale", text: `Stale for ${age((now - market.since) / 1000)}` };
  }
  if (feed.name === "silent") {
    return { kind: "stale", text: `Feed silent for ${age(feed.quietMs / 1000)}` };
  }
  if ([market.name, account.name].includes("connecting")) {
    return { kind: "connecting", text: "Connecting" };
  }
  return live(clock);
}

function live({ mode, speed, paused }) {
  if (mode === "stepped") return { kind: "live", text: "Stepped", shown: "replay" };
  if (mode !== "replay") return { kind: "live", text: "Live" };
  if (paused) return { kind: "live", text: "Replay paused", shown: "paused" };
  return { kind: "live", text: `Replay ×${speed}`, shown: "replay" };
}
