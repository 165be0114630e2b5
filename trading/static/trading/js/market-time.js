// What time it is in the market, between two answers of GET /v2/clock.

import { minute } from "./new-york.js";

/** Market time runs from the last answer at the market's pace, and never backwards. */
export class MarketTime {
  constructor({ speed = 1, mode = "live" } = {}) {
    this.speed = speed;
    this.mode = mode;
    this.paused = false;
    this.open = null;
    this.hours = null; // today's entry of GET /v2/calendar, where today is a trading day
    this.nextOpen = null;
    this.nextClose = null;
    this.base = null;
    this.shown = 0;
  }

  /** Take an answer of /v2/clock that was read at `wall` milliseconds. */
  set(clock, wall) {
    this.speed = clock.speed ?? this.speed;
    this.mode = clock.mode ?? this.mode;
    this.paused = clock.paused ?? false;
    this.open = clock.is_open;
    this.nextOpen = Date.parse(clock.next_open);
    this.nextClose = Date.parse(clock.next_close);
    this.base = { market: Date.parse(clock.timestamp), wall };
  }

  /** The stream says how far the market has come: between answers, the better clock. */
  observe(at, wall) {
    if (this.base !== null) this.base = { market: at, wall };
  }

  /** Market time in milliseconds at `wall`; null before the first answer. */
  now(wall) {
    if (this.base === null) return null;
    const elapsed = this.paused ? 0 : (wall - this.base.wall) * this.pace;
    this.shown = Math.max(this.shown, this.base.market + elapsed);
    return this.shown;
  }

  /** Market seconds per wall second; a stepped market stands until somebody advances it. */
  get pace() {
    return this.mode === "stepped" ? 0 : this.mode === "replay" ? this.speed : 1;
  }

  /** "pre", "regular", "after" or "closed"; whether it is regular, only the server says. */
  sessionAt(at) {
    if (this.open) return "regular";
    if (this.hours === null) return "closed";
    const now = minute(at).replace(":", "");
    const [opens, closes] = [this.hours.open, this.hours.close].map((time) =>
      time.replace(":", ""),
    );
    if (now >= this.hours.session_open && now < opens) return "pre";
    return now >= closes && now < this.hours.session_close ? "after" : "closed";
  }

  /** When the session ends (or begins), as {opens, at}; null before the first answer. */
  get turn() {
    if (this.base === null) return null;
    return this.open ? { opens: false, at: this.nextClose } : { opens: true, at: this.nextOpen };
  }
}
