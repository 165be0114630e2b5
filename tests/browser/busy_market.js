// Stands in for the market's socket in a page: 200 symbols, each with many quotes and trades a
// second, and counts frames, paints of prices and those of the chart's legend. Told to the page before
// its own scripts run.

(() => {
  const Real = window.WebSocket;
  const SYMBOLS = Array.from({ length: 200 }, (_, n) => `T${n}`);
  const TURN_MS = 4;
  const QUOTES_A_TURN = 50;
  const QUOTES_A_TRADE = 5;
  const OWED_MAX = 200;
  const started = Date.now();
  window.pace = { told: 0, frames: 0, paints: 0, legends: 0, since: 0 };

  class BusyMarket {
    constructor() {
      this.readyState = 0;
      this.frames = 0;
      this.trades = {};
      this.made = 0;
      this.owed = 0;
      this.line = new MessageChannel(); // each message is a task of its own, as from a real socket
      this.line.port2.onmessage = ({ data }) => this.deliver(data);
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
      for (let n = 0; n < QUOTES_A_TURN && this.owed < OWED_MAX; n += 1) {
        const number = (this.made += 1);
        const S = SYMBOLS[number % SYMBOLS.length];
        const t = new Date(started + number).toISOString();
        const bp = 100 + (number % 977) / 100;
        this.owe({ T: "q", S, bp, bs: 1, ap: bp + 0.01, as: 2, t, seq: number, epoch: 1 });
        if (number % QUOTES_A_TRADE === 0) this.trade(number / QUOTES_A_TRADE, t);
      }
    }

    // Every other one is of the charted symbol.
    trade(number, t) {
      const S = SYMBOLS[number % 2 === 0 ? 0 : number % SYMBOLS.length];
      const p = 100 + (number % 977) / 100;
      const seq = (this.trades[S] = (this.trades[S] ?? 0) + 1);
      this.owe({ T: "t", S, p, s: 1, i: number, t, seq, epoch: 1 });
    }

    owe(message) {
      this.owed += 1;
      this.line.port1.postMessage(message);
    }

    deliver(message) {
      this.owed -= 1;
      window.pace.told += 1;
      if (this.readyState === 1) this.say(message);
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

  // All that one paint changes is told at once. Prices change by nothing but quotes and trades.
  function count(name, nodes) {
    const observer = new MutationObserver(() => (window.pace[name] += 1));
    for (const node of nodes) observer.observe(node, { childList: true, characterData: true });
  }

  // Once a page.
  window.startCounting = () => {
    const rows = document.querySelectorAll("[data-watch-rows] tr");
    const prices = [...rows].flatMap(({ cells }) => [1, 3, 4].map((at) => cells[at].firstElementChild));
    count("paints", [...prices, document.querySelector("[data-quote=last]")]);
    count("legends", [document.querySelector("[data-legend]")]);
    Object.assign(window.pace, { told: 0, frames: 0, paints: 0, legends: 0, since: performance.now() });
    const frame = () => {
      window.pace.frames += 1;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  };
})();
