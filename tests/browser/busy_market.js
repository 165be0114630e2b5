// Stands in for the market's socket in a page: 200 symbols, each with many quotes a second, and
// counts frames and paints. Told to the page before its own scripts run.

(() => {
  const Real = window.WebSocket;
  const SYMBOLS = Array.from({ length: 200 }, (_, n) => `T${n}`);
  const TURN_MS = 4;
  const QUOTES_A_TURN = 50;
  const started = Date.now();
  window.pace = { symbols: SYMBOLS, told: 0, frames: 0, paints: 0, since: 0 };

  class BusyMarket {
    constructor() {
      this.readyState = 0;
      this.frames = 0;
      setTimeout(() => this.open());
    }

    open() {
      this.readyState = 1;
      this.onopen();
      this.say({ T: "success", msg: "connected" });
      this.say({ T: "success", msg: "authenticated" });
      this.turns = setInterval(() => this.turn(), TURN_MS);
      this.beats = setInterval(() => this.beat(), 1_000);
    }

    turn() {
      for (let n = 0; n < QUOTES_A_TURN; n += 1) {
        const number = (window.pace.told += 1);
        const S = SYMBOLS[number % SYMBOLS.length];
        const t = new Date(started + number).toISOString();
        const bp = 100 + (number % 977) / 100;
        this.say({ T: "q", S, bp, bs: 1, ap: bp + 0.01, as: 2, t, seq: number, epoch: 1 });
      }
    }

    beat() {
      this.say({ T: "heartbeat", t: null, quiet_ms: 1, sent: this.frames, quotes: {} });
    }

    say(message) {
      this.frames += 1;
      this.onmessage({ data: JSON.stringify([message]) });
    }

    send(text) {
      const { action, quotes = [] } = JSON.parse(text);
      if (action !== "subscribe") return;
      for (const S of quotes) this.say({ T: "snapshot", S, quote: null, trade: null });
    }

    close() {
      this.readyState = 3;
      clearInterval(this.turns);
      clearInterval(this.beats);
    }
  }

  window.WebSocket = function (url) {
    return new URL(url).pathname.startsWith("/v2/") ? new BusyMarket() : new Real(url);
  };

  // Bids change by nothing but quotes, and all that one paint changes is told at once.
  window.startCounting = () => {
    const rows = document.querySelector("[data-watch-rows]");
    const bids = [...rows.querySelectorAll("tr")].map((row) => row.cells[3].firstElementChild);
    const count = new MutationObserver(() => (window.pace.paints += 1));
    for (const bid of bids) count.observe(bid, { childList: true, characterData: true });
    Object.assign(window.pace, { told: 0, frames: 0, paints: 0, since: performance.now() });
    const frame = () => {
      window.pace.frames += 1;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  };
})();
