// The two streams of the server: what keeps them connected, whole, and honest about it.
//
// `DataStream` is the market, `AccountStream` the account's trade updates. Under both is a `Socket`,
// which comes back with full-jitter backoff and counts silence as loss. What was lost on the way,
// `Integrity` and the heartbeats tell; then they ask to be told anew.

// How long to wait before connecting again: exponential, with full jitter, so that a thousand
// screens that lost one server do not come back in the same second.

export const SHORTEST_MS = 250;
export const FIRST_MS = 500;
export const LONGEST_MS = 20_000;

/** A wait for the n-th attempt (from 0), anywhere between a quarter second and its bound. */
export function delay(attempt, random = Math.random) {
  const bound = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round(SHORTEST_MS + random() * (bound - SHORTEST_MS));
}

// A WebSocket that comes back: full-jitter backoff, and silence counted as loss.
//
// States, as {name, …}: "connecting" (until whoever uses it says that it has joined its stream: a
// handshake alone brings no news), "open", "silent" {since} (joined, yet nothing is heard), "waiting"
// {until, why} (for the next attempt; `why` in the server's words, if it said any), "closed" (by us).

const STEADY_MS = 10_000; // a connection that held this long starts the backoff afresh
const CHECK_MS = 1_000;
// The server's heart beats every two seconds on each honest socket, whatever the market does.
const SILENT_MS = 5_000;
const GIVE_UP_MS = 15_000;
const NO_LINK = Object.freeze({ readyState: 3, close() {} });

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
    this.lastHeard = this.world.Date.now();
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

  /** The server has let us in and tells what was asked for. */
  joined() {
    if (this.state.name === "connecting") this.enter({ name: "open" });
  }

  /** Try at once, as when the machine is back on the net, or awake: no check ran while it slept. */
  hurry() {
    this.check();
    if (this.state.name === "waiting") this.connect();
  }

  /** Drop this connection, which is of no use (`why`, in a few words), and try again later. */
  giveUp(why = null) {
    const { link } = this;
    this.link = NO_LINK;
    link.close();
    this.onClose(why);
  }

  close() {
    this.world.clearInterval(this.checks);
    this.world.clearTimeout(this.timer);
    const { link } = this;
    this.link = NO_LINK;
    link.close();
    this.enter({ name: "closed" });
  }

  onOpen() {
    this.openedAt = this.lastHeard = this.world.Date.now();
    this.opened(this);
  }

  onMessage(data) {
    this.lastHeard = this.world.Date.now();
    if (this.state.name === "silent") this.enter({ name: "open" });
    const text = typeof data === "string" ? data : this.decoder.decode(data);
    this.heard([JSON.parse(text)].flat());
  }

  onClose(why = null) {
    const now = this.world.Date.now();
    if (this.openedAt !== null && now - this.openedAt > STEADY_MS) this.attempt = 0;
    this.openedAt = null;
    const wait = delay(this.attempt++);
    this.enter({ name: "waiting", until: now + wait, why });
    this.timer = this.world.setTimeout(() => this.connect(), wait);
  }

  // A mute connection is told at once and given up some time later, and so is one that never opens.
  check() {
    if (!["connecting", "open", "silent"].includes(this.state.name)) return;
    const mute = this.world.Date.now() - this.lastHeard;
    if (mute > GIVE_UP_MS) {
      this.giveUp();
    } else if (mute > SILENT_MS && this.state.name === "open") {
      this.enter({ name: "silent", since: this.lastHeard });
    }
  }

  enter(state) {
    this.state = state;
    this.changed(state);
  }
}

// Whether everything that the server sent has arrived: what makes "nothing new" differ from "mute".
//
// The heartbeat says how many messages this socket was sent and which quotes are the newest; trades,
// bars and what becomes of trades (corrections and cancellations, counted together) are numbered
// without gaps per symbol. Quotes may jump: slow readers get the newest only.

const NUMBERED = { t: "t", b: "b", u: "u", d: "d", c: "a", x: "a" }; // kind: what it is counted as
const BAR_CHANNELS = { b: "bars", u: "updatedBars", d: "dailyBars" };

export class Integrity {
  constructor() {
    this.begin();
  }

  /** A new connection starts counting anew. */
  begin() {
    this.frames = 0;
    this.last = new Map();
  }

  /** The symbol's stream goes on from this place, [epoch, number] of its last trade. */
  startAt(symbol, place) {
    if (place) this.last.set(`t ${symbol}`, place);
  }

  /** False where trades of the symbol were amended and we were not told: by a snapshot's place. */
  isAmendedTo(symbol, place) {
    const key = `a ${symbol}`;
    const before = this.last.get(key);
    const now = place ?? [0, 0];
    if (before !== undefined && !isNewer(now, before)) return true;
    this.last.set(key, now);
    return before === undefined;
  }

  /** Nothing is heard of the symbol any more. */
  forget(symbol) {
    this.last.delete(`a ${symbol}`);
  }

  /** False where messages are missing between this one and the last of its symbol and kind. */
  follows({ T: kind, S: symbol, seq, epoch }) {
    if (seq === undefined || !(kind in NUMBERED)) return true;
    const key = `${NUMBERED[kind]} ${symbol}`;
    const before = this.last.get(key);
    if (before && !isNewer([epoch, seq], before)) return true;
    this.last.set(key, [epoch, seq]);
    if (before === undefined || seq === before[1] + 1) return true;
    return before[0] !== epoch && NUMBERED[kind] === "t"; // the feed counts trades, the hub the rest
  }

  /** The symbols whose newest message of a kind, by a heartbeat's places, did not arrive here. */
  behind(places, kind = "t") {
    const late = Object.entries(places).filter(([symbol, place]) => {
      const known = this.last.get(`${kind} ${symbol}`);
      return known === undefined || isNewer(place, known);
    });
    for (const [symbol, place] of late) this.last.set(`${kind} ${symbol}`, place); // told once
    return late.map(([symbol]) => symbol);
  }

  /** Whether the count of a heartbeat is ours; one difference is told once. */
  agrees(sent) {
    if (sent === undefined || sent === this.frames) return true;
    this.frames = sent;
    return false;
  }
}

/** Whether one place [epoch, number] in a stream is behind another. */
export function isNewer([epoch, number], [otherEpoch, otherNumber]) {
  return epoch === otherEpoch ? number > otherNumber : epoch > otherEpoch;
}

// Market data of the symbols on the screen: keeps the subscription equal to what is watched, checks
// with each heartbeat that nothing was lost, and asks anew where something was.

const EACH = ["quotes", "trades", "statuses"];
// Heartbeats without an answer to a request, after which it is asked again.
const UNANSWERED_MAX = 3;
// Errors that are about a message of ours, by their codes; after any other the connection is of no
// use. What is not subscribed for one of them stays marked as not live.
const REFUSED_ONCE = new Set([400, 405, 410]);
const FOLDS = { q: "quote", t: "trade", c: "amendment", x: "amendment", s: "status" };

export class DataStream {
  /**
   * `ticks` takes quotes, trades, amendments of them and statuses, and `heard` is told that it did.
   * `bar` and `trade` hear of the charted symbol, `pulse({at, quietMs, current})` how alive the feed
   * is, `missed()` that something is to be fetched anew, `barsMissed()` that bars of the charted
   * symbol are, and `amended(symbol)` that trades of a symbol are not what they were.
   */
  constructor(url, ticks, { changed, heard, bar, trade, pulse, missed, barsMissed, amended }) {
    Object.assign(this, { ticks, heard, bar, trade, pulse, missed, barsMissed, amended });
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
    this.ticks.leave(this.ticks.rows.keys());
  }

  hear(messages) {
    for (const message of messages) {
      if (message.T === "success" && message.msg === "authenticated") {
        this.ready = true;
        this.settle();
      } else if (message.T === "heartbeat") {
        this.beat(message);
      } else if (message.T === "error") {
        if (!REFUSED_ONCE.has(message.code)) this.socket.giveUp(message.msg);
      } else if (this.subscribed.has(message.S)) {
        // What was on its way when its symbol was dropped is passed over: nothing follows it.
        if (message.T === "snapshot") this.stand(message);
        else this.fold(message);
      }
    }
    this.integrity.frames += 1;
    this.heard();
  }

  stand(snapshot) {
    const { S: symbol, trades, amendments } = snapshot;
    this.integrity.startAt(symbol, trades);
    if (!this.integrity.isAmendedTo(symbol, amendments)) this.lostAmendments([symbol]);
    this.ticks.standing(symbol, snapshot);
    this.ticks.join(symbol);
    if (snapshot.resync === this.resyncs) this.healing.add(symbol);
  }

  fold(message) {
    const { S: symbol, T: kind } = message;
    const isAmendment = kind === "c" || kind === "x";
    if (!this.integrity.follows(message)) {
      if (kind in BAR_CHANNELS) this.barsMissed();
      else if (isAmendment) this.lostAmendments([symbol]);
      else this.lost([symbol]);
    } else if (isAmendment) {
      this.amended(symbol);
    }
    if (kind in FOLDS) this.ticks[FOLDS[kind]](symbol, message);
    if (kind === "q") this.ticks.join(symbol);
    if (symbol !== this.charted) return;
    if (kind === "t") this.trade(message);
    if ("bud".includes(kind)) this.bar(message);
  }

  beat({ t, quiet_ms: quietMs, sent, quotes, trades, amendments, current = true, ...news }) {
    const unheard = this.integrity.behind(this.watched(amendments), "a");
    const late = [
      ...this.ticks.behind(this.watched(quotes)),
      ...this.integrity.behind(this.watched(trades)),
      ...unheard,
    ];
    for (const symbol of unheard) this.amended(symbol);
    if (!this.integrity.agrees(sent)) this.lost([...this.subscribed]);
    else if (late.length > 0) this.lost(late);
    else if (current) this.heal();
    if (this.lacksBars(news)) this.barsMissed();
    this.pulse({ at: t ? Date.parse(t) : null, quietMs: quietMs ?? null, current });
    this.socket.joined(); // only now is it known whether the server itself hears the market
  }

  // Whether a heartbeat names newer bars of the charted symbol than arrived, of any kind.
  lacksBars(news) {
    const { charted } = this;
    const late = Object.entries(BAR_CHANNELS).flatMap(([kind, channel]) => {
      const place = news[channel]?.[charted];
      return place ? this.integrity.behind({ [charted]: place }, kind) : [];
    });
    return late.length > 0;
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

  lostAmendments(symbols) {
    for (const symbol of symbols) this.amended(symbol);
    this.lost(symbols);
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
    this.subscribed = new Set(this.wanted);
    this.ask("subscribe", added, chart ? this.nextChart : null);
    this.ask("unsubscribe", dropped, chart ? this.charted : null);
    this.ticks.leave(dropped);
    for (const symbol of dropped) this.integrity.forget(symbol);
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

// What happens to the account's orders, in the order in which it happened, and without a gap: after
// a break the stream is asked to tell again what came since the last number heard.

export class AccountStream {
  /**
   * `updated(update)` hears each trade update; `doubt()` that some may have been lost; `pulse(whole)`
   * at each heartbeat whether everything has arrived that there was at the one before, or at this
   * one where it is the first: what is newer may be on its way, as each update is for a moment.
   */
  constructor(url, { changed, updated, doubt, pulse }) {
    Object.assign(this, { updated, doubt, pulse });
    this.sequence = null; // up to which number of the account everything was heard
    this.frames = 0;
    this.due = null; // up to which number everything is here by the next heartbeat
    this.socket = new Socket(url, {
      opened: (socket) => {
        this.frames = 0;
        this.due = null;
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
    if (stream === "listening") this.listening(data);
    if (stream === "error" || data?.status === "unauthorized") {
      this.socket.giveUp(data.error ?? "not authorized");
    }
  }

  listening(data) {
    if (this.sequence === null) {
      this.sequence = data.account_sequence ?? null;
      this.doubt();
    }
    this.socket.joined();
  }

  // Numbers rise, with gaps where an event was no trade update; a repeated one is dropped.
  update(data) {
    const number = data.account_sequence ?? null;
    if (number !== null && this.sequence !== null && number <= this.sequence) return;
    this.sequence = number ?? this.sequence;
    this.updated(data);
  }

  beat({ sent, account_sequence: upTo, newest, current = true }) {
    if (sent !== undefined && sent !== this.frames) {
      this.frames = sent;
      this.doubt();
    }
    this.sequence = upTo ?? this.sequence;
    this.pulse(current && (this.due ?? newest ?? 0) <= (this.sequence ?? 0));
    this.due = newest;
  }
}

/** The socket address of a path on this page's own host. */
export function socketAddress(path, location = globalThis.location) {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
}
