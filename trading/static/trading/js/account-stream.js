// What happens to the account's orders, in the order in which it happened, and without a gap: after
// a break the stream is asked to tell again what came since the last number heard.

import { Socket } from "./socket.js";

export class AccountStream {
  /** `updated(update)` hears each trade update; `doubt()` that some may have been lost. */
  constructor(url, { changed, updated, doubt }) {
    Object.assign(this, { updated, doubt });
    this.sequence = null; // up to which number of the account everything was heard
    this.frames = 0;
    this.socket = new Socket(url, {
      opened: (socket) => {
        this.frames = 0;
        const since = this.sequence === null ? {} : { since: this.sequence };
        socket.send({ action: "listen", data: { streams: ["trade_updates"], ...since } });
      },
      heard: (messages) => {
        for (const { stream, data } of messages) this.take(stream, data);
        this.frames += 1;
      },
      changed,
    });
  }

  take(stream, data) {
    if (stream === "trade_updates") this.update(data);
    if (stream === "heartbeat") this.beat(data);
    if (stream === "listening" && this.sequence === null) {
      this.sequence = data.account_sequence ?? null;
      this.doubt();
    }
  }

  // Numbers rise, with gaps where an event was no trade update; a repeated one is dropped.
  update(data) {
    const number = data.account_sequence ?? null;
    if (number !== null && this.sequence !== null && number <= this.sequence) return;
    this.sequence = number ?? this.sequence;
    this.updated(data);
  }

  beat({ sent, account_sequence: upTo }) {
    if (sent !== undefined && sent !== this.frames) {
      this.frames = sent;
      this.doubt();
    }
    this.sequence = upTo ?? this.sequence;
  }
}
