// A WebSocket that comes back: full-jitter backoff, and silence counted as loss.
//
// States, as {name, …}: "connecting", "open", "silent" {since} (connected, yet nothing is heard),
// "waiting" {until} (for the next attempt), "closed" (by us).

import { delay } from "./backoff.js";

const STEADY_MS = 10_000; // a connection that held this long starts the backoff afresh
const CHECK_MS = 1_000;
// The server's heart beats every two seconds on each honest socket, whatever the market does.
const SILENT_MS = 5_000;
const GIVE_UP_MS = 15_000;

export class Socket {
  /**
   * `opened(socket)` is told of each new connection, `heard(messages)` of each frame, and
   * `changed(state)` of states. `world` has the timers, the clock and the WebSocket.
   */
  constructor(url, { opened, heard, changed }, world = globalThis) {
    Object.assign(this, { url, opened, heard, changed, world });
    this.attempt = 0;
    this.openedAt = null;
    this.decoder = new TextDecoder();
    this.checks = world.setInterval(() => this.check(), CHECK_MS);
    this.connect();
  }

  connect() {
    this.world.clearTimeout(this.timer);
    this.enter({ name: "connecting" });
    this.link = new this.world.WebSocket(this.url);
    this.link.binaryType = "arraybuffer";
    const link = this.link;
    link.onopen = () => link === this.link && this.onOpen();
    link.onmessage = (event) => link === this.link && this.onMessage(event.data);
    link.onclose = () => link === this.link && this.onClose();
  }

  send(message) {
    if (this.link.readyState === 1) this.link.send(JSON.stringify(message));
  }

  /** Try at once, as when the machine is back on the net. */
  hurry() {
    if (this.state.name === "waiting") this.connect();
  }

  close() {
    this.world.clearInterval(this.checks);
    this.world.clearTimeout(this.timer);
    const link = this.link;
    this.link = { readyState: 3 };
    link.close();
    this.enter({ name: "closed" });
  }

  onOpen() {
    this.openedAt = this.lastHeard = this.world.Date.now();
    this.enter({ name: "open" });
    this.opened(this);
  }

  onMessage(data) {
    this.lastHeard = this.world.Date.now();
    if (this.state.name === "silent") this.enter({ name: "open" });
    const text = typeof data === "string" ? data : this.decoder.decode(data);
    this.heard([JSON.parse(text)].flat());
  }

  onClose() {
    const now = this.world.Date.now();
    if (this.openedAt !== null && now - this.openedAt > STEADY_MS) this.attempt = 0;
    this.openedAt = null;
    const wait = delay(this.attempt++);
    this.enter({ name: "waiting", until: now + wait });
    this.timer = this.world.setTimeout(() => this.connect(), wait);
  }

  // A mute connection is told at once, and given up some time later.
  check() {
    if (!["open", "silent"].includes(this.state.name)) return;
    const mute = this.world.Date.now() - this.lastHeard;
    if (mute > GIVE_UP_MS) {
      const link = this.link;
      this.link = null;
      link.close();
      this.onClose();
    } else if (mute > SILENT_MS && this.state.name === "open") {
      this.enter({ name: "silent", since: this.lastHeard });
    }
  }

  enter(state) {
    this.state = state;
    this.changed(state);
  }
}

/** The socket address of a path on this page's own host. */
export function socketAddress(path, location = globalThis.location) {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
}
