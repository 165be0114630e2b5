import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { judged } from "../../trading/static/trading/js/connection-state.js";
import { AccountStream, DataStream, Socket, socketAddress } from "../../trading/static/trading/js/socket.js";
import { Ticks } from "../../trading/static/trading/js/ticks.js";

/** A world with a clock one turns by hand, and sockets one speaks for. */
class World {
  now = 0;
  timers = new Map();
  links = [];
  id = 0;
  Date = { now: () => this.now };

  constructor() {
    const world = this;
    this.WebSocket = class {
      readyState = 0;
      sent = [];
      constructor() {
        world.links.push(this);
      }
      send(text) {
        this.sent.push(JSON.parse(text));
      }
      close() {
        this.readyState = 3;
      }
      open() {
        this.readyState = 1;
        this.onopen();
      }
      say(...messages) {
        for (const message of messages) this.onmessage({ data: JSON.stringify(message) });
      }
      drop() {
        this.readyState = 3;
        this.onclose();
      }
    };
  }

  setInterval = (run, every) =>
    this.timers.set(++this.id, { run, every, at: this.now + every }) && this.id;
  setTimeout = (run, after) => this.timers.set(++this.id, { run, at: this.now + after }) && this.id;
  clearTimeout = (id) => this.timers.delete(id);
  clearInterval = (id) => this.timers.delete(id);

  pass(milliseconds) {
    const end = this.now + milliseconds;
    while (this.now < end) {
      this.now += 250;
      for (const [id, timer] of [...this.timers]) {
        if (timer.at > this.now) continue;
        if (timer.every) timer.at += timer.every;
        else this.timers.delete(id);
        timer.run();
      }
    }
  }

  get link() {
    return this.links.at(-1);
  }
}

let world;
let states;
let heard;
const names = () => states.map(({ name }) => name);

function connect() {
  return new Socket(
    "ws://here/stream",
    {
      opened: () => {},
      heard: (messages) => heard.push(...messages),
      changed: (state) => states.push(state),
    },
    world,
  );
}

beforeEach(() => {
  world = new World();
  states = [];
  heard = [];
});

test("a lost connection comes back, later each time", () => {
  const socket = connect();
  for (let attempt = 0; attempt < 6; attempt += 1) {
    world.link.drop();
    assert.equal(socket.state.name, "waiting");
    assert.ok(socket.state.until - world.now <= 500 * 2 ** attempt + 250);
    while (socket.state.name === "waiting") world.pass(250);
    assert.equal(world.links.length, attempt + 2);
  }
});

test("a connection that held starts the backoff afresh", () => {
  const socket = connect();
  socket.attempt = 9;
  world.link.open();
  socket.joined();
  for (let second = 0; second < 12; second += 1) {
    world.pass(1_000);
    world.link.say([]);
  }
  world.link.drop();
  assert.ok(socket.state.until - world.now <= 500);
});

test("a handshake alone is no connection yet", () => {
  const socket = connect();
  world.link.open();
  assert.deepEqual(names(), ["connecting"]);
  socket.joined();
  socket.joined();
  assert.deepEqual(names(), ["connecting", "open"]);
});

test("a connection that never opens is given up, and so is one that never says anything", () => {
  const socket = connect();
  for (const opens of [false, true]) {
    const { link } = world;
    if (opens) link.open();
    world.pass(14_000);
    assert.equal(socket.state.name, "connecting");
    while (socket.state.name === "connecting" && world.now < 60_000) world.pass(250);
    assert.deepEqual([socket.state.name, link.readyState], ["waiting", 3]);
    socket.hurry();
  }
  assert.equal(world.links.length, 3);
});

test("a machine that wakes up calls nothing live that it has not heard since", () => {
  const socket = connect();
  world.link.open();
  socket.joined();
  world.now += 8_000; // asleep, no timer runs
  socket.hurry();
  assert.equal(socket.state.name, "silent");
  world.now += 3_600_000;
  socket.hurry();
  assert.deepEqual([socket.state.name, world.links.length], ["connecting", 2]);
});

test("while it waits, a socket that was given up takes what it is asked", () => {
  const socket = connect();
  world.link.open();
  socket.giveUp("auth failed");
  assert.deepEqual([socket.state.name, socket.state.why], ["waiting", "auth failed"]);
  socket.send({ action: "listen" });
  world.link.drop();
  assert.equal(world.timers.size, 2, "one check, one attempt");
  socket.close();
  world.pass(60_000);
  assert.equal(world.links.length, 1);
  assert.equal(socket.state.name, "closed");
});

test("silence is told, then given up", () => {
  const socket = connect();
  world.link.open();
  socket.joined();
  world.link.say([{ T: "heartbeat" }]);
  world.pass(6_500);
  assert.equal(states.at(-1).name, "silent");
  world.link.say([{ T: "heartbeat" }]);
  assert.equal(states.at(-1).name, "open");
  world.pass(16_500);
  assert.ok(names().includes("waiting"));
});

test("text and binary frames read the same", () => {
  connect();
  world.link.open();
  world.link.say({ stream: "a" });
  world.link.onmessage({ data: new TextEncoder().encode('{"stream":"b"}').buffer });
  assert.deepEqual(heard, [{ stream: "a" }, { stream: "b" }]);
});

test("an old connection's last words are not heard", () => {
  connect();
  const old = world.link;
  old.drop();
  world.pass(1_000);
  old.say([{ T: "q" }]);
  assert.deepEqual(heard, []);
});

test("a closed socket stays closed", () => {
  const socket = connect();
  socket.close();
  world.pass(60_000);
  assert.equal(world.links.length, 1);
  assert.equal(socket.state.name, "closed");
});

test("sockets go to the page's own host", () => {
  assert.equal(socketAddress("/stream", { protocol: "https:", host: "a:1" }), "wss://a:1/stream");
  assert.equal(socketAddress("/stream", { protocol: "http:", host: "a:1" }), "ws://a:1/stream");
});

function inWorld(make) {
  const before = globalThis.WebSocket;
  globalThis.WebSocket = world.WebSocket;
  try {
    return make();
  } finally {
    globalThis.WebSocket = before;
  }
}

function marketData(ticks = new Ticks()) {
  const news = { missed: 0, barsMissed: 0, trades: [], pulses: [], amended: [] };
  const stream = inWorld(
    () =>
      new DataStream("ws://here", ticks, {
        changed: (state) => states.push(state),
        heard: () => {},
        bar: () => {},
        trade: (trade) => news.trades.push(trade),
        pulse: (pulse) => news.pulses.push(pulse),
        missed: () => (news.missed += 1),
        barsMissed: () => (news.barsMissed += 1),
        amended: (symbol) => news.amended.push(symbol),
      }),
  );
  world.link.open();
  return { stream, news, ticks };
}

const WELCOME = [[{ T: "success", msg: "connected" }], [{ T: "success", msg: "authenticated" }]];

test("the market is live once a heartbeat has told how it is, and again after each break", (context) => {
  const { stream, news, ticks } = marketData();
  context.after(() => stream.socket.close());
  const beat = { T: "heartbeat", quotes: {}, trades: {}, quiet_ms: 10, t: null };
  const stands = { T: "snapshot", S: "A", quote: { t: "2026-01-05T15:00:00Z", bp: 1, ap: 2 } };
  stream.watch(["A"], "A");
  world.link.say(...WELCOME, [stands]);
  assert.deepEqual([names(), ticks.get("A").streamed], [["connecting"], true]);
  world.link.say([{ ...beat, sent: 3 }]);
  assert.deepEqual([names(), news.pulses.length], [["connecting", "open"], 1]);

  inWorld(() => Socket.prototype.connect.call(stream.socket));
  world.link.open();
  assert.deepEqual([names().at(-1), ticks.get("A").streamed], ["connecting", false]);
  world.link.say(...WELCOME, [stands], [{ ...beat, sent: 3 }]);
  assert.deepEqual([names().at(-1), ticks.get("A").streamed], ["open", true]);
});

test("a symbol that is watched again waits for where it stands", (context) => {
  const { stream, ticks } = marketData();
  context.after(() => stream.socket.close());
  stream.watch(["A", "B"], "A");
  world.link.say(...WELCOME);
  for (const S of ["A", "B"]) world.link.say([{ T: "snapshot", S, quote: null, trade: null }]);
  stream.watch(["A"], "A");
  stream.watch(["A", "B"], "A");
  assert.deepEqual([ticks.get("A").streamed, ticks.get("B").streamed], [true, false]);
  world.link.say([{ T: "q", S: "B", t: "2026-01-05T15:00:00Z", bp: 1, ap: 2, epoch: 1, seq: 1 }]);
  assert.equal(ticks.get("B").streamed, true);
});

test("what was on its way when a symbol was dropped brings nothing of it back", (context) => {
  const { stream, news, ticks } = marketData();
  context.after(() => stream.socket.close());
  stream.watch(["A", "B"], "A");
  world.link.say(...WELCOME);
  const stands = (amendments) => ({
    T: "snapshot", S: "B", quote: null, trade: null, trades: null, amendments,
  });
  const told = { S: "B", t: AT, epoch: 1, seq: 1 };
  world.link.say([stands(null)]);
  stream.watch(["A"], "A");
  world.link.say([{ T: "q", ...told, bp: 1, ap: 2 }], [stands(null)], [{ T: "x", ...told }]);
  assert.deepEqual([ticks.get("B").streamed, ticks.get("B").quoteAt], [false, null]);
  world.link.say([{ T: "heartbeat", sent: 6, quotes: {}, trades: {}, quiet_ms: 10, t: null }]);
  assert.equal(news.missed, 0, "it counts as heard all the same");

  stream.watch(["A", "B"], "A");
  world.link.say([stands([1, 4])]);
  assert.deepEqual([ticks.get("B").streamed, news.missed, news.amended], [true, 0, []]);
});

test("a market stream that refuses us is left and tried again, one that refuses a message is not", (context) => {
  const { stream } = marketData();
  context.after(() => stream.socket.close());
  world.link.say(...WELCOME, [{ T: "error", code: 405, msg: "symbol limit exceeded" }]);
  assert.equal(stream.socket.state.name, "connecting");
  world.link.say([{ T: "error", code: 402, msg: "auth failed" }]);
  assert.deepEqual([stream.socket.state.name, stream.socket.state.why], ["waiting", "auth failed"]);
  assert.equal(world.link.readyState, 3);
});

test("the subscription follows what is watched", (context) => {
  const { stream } = marketData();
  context.after(() => stream.socket.close());
  stream.watch(["A", "B"], "A");
  assert.deepEqual(world.link.sent, []);
  world.link.say(...WELCOME);
  assert.deepEqual(world.link.sent[0].quotes, ["A", "B"]);
  assert.deepEqual(world.link.sent[0].bars, ["A"]);
  stream.watch(["B", "C"], "B");
  const [, added, dropped] = world.link.sent;
  assert.deepEqual([added.action, added.trades, added.bars], ["subscribe", ["C"], ["B"]]);
  assert.deepEqual([dropped.action, dropped.trades, dropped.bars], ["unsubscribe", ["A"], ["A"]]);
  stream.watch(["B", "C"], "B");
  assert.equal(world.link.sent.length, 3);
});

test("a heartbeat whose count is not ours marks everything and asks anew", (context) => {
  const { stream, news, ticks } = marketData();
  context.after(() => stream.socket.close());
  stream.watch(["A"], "A");
  world.link.say(...WELCOME);
  world.link.say([{ T: "heartbeat", sent: 2, quotes: {}, quiet_ms: 10, t: null }]);
  assert.equal(news.missed, 0);
  world.link.say([{ T: "heartbeat", sent: 9, quotes: {}, quiet_ms: 10, t: null }]);
  assert.deepEqual([news.missed, ticks.get("A").missed], [1, true]);
  assert.equal(news.pulses.length, 2);
});

test("what was lost is asked for, and trusted again by a heartbeat after the answer", (context) => {
  const { stream, ticks } = marketData();
  context.after(() => stream.socket.close());
  stream.watch(["A", "B"], "A");
  world.link.say(...WELCOME);
  let sent = 2;
  const say = (message) => world.link.say([message]) ?? (sent += 1);
  const beat = (news = {}) =>
    say({ T: "heartbeat", sent, quotes: {}, trades: {}, quiet_ms: 10, t: null, ...news });

  beat({ trades: { A: [1, 7] } });
  assert.deepEqual([ticks.get("A").missed, ticks.get("B").missed], [true, false]);
  assert.deepEqual(world.link.sent.at(-1), { action: "resync", id: 1 });
  beat();
  assert.equal(ticks.get("A").missed, true, "it was not answered yet");
  say({ T: "snapshot", S: "A", quote: null, trade: null, trades: [1, 7], halted: true, resync: 1 });
  beat({ current: false });
  assert.equal(ticks.get("A").missed, true, "the server itself may have missed something");
  beat();
  assert.deepEqual([ticks.get("A").missed, ticks.get("A").halted], [false, true]);
});

test("a request that is not answered is made again", (context) => {
  const { stream, ticks } = marketData();
  context.after(() => stream.socket.close());
  stream.watch(["A"], "A");
  world.link.say(...WELCOME);
  let sent = 2;
  const say = (message) => world.link.say([message]) ?? (sent += 1);
  const beat = (news = {}) =>
    say({ T: "heartbeat", sent, quotes: {}, trades: {}, quiet_ms: 10, t: null, ...news });
  const requests = () => world.link.sent.filter(({ action }) => action === "resync");

  beat({ trades: { A: [1, 7] } });
  for (let count = 0; count < 3; count += 1) beat();
  assert.deepEqual(requests(), [{ action: "resync", id: 1 }]);
  beat();
  assert.deepEqual(requests().at(-1), { action: "resync", id: 2 });
  say({ T: "snapshot", S: "A", quote: null, trade: null, trades: [1, 7], halted: false, resync: 2 });
  for (let count = 0; count < 6; count += 1) beat();
  assert.equal(ticks.get("A").missed, false);
  assert.equal(requests().length, 2);
});

test("a gap in a symbol's trades marks that symbol only", (context) => {
  const { stream, news, ticks } = marketData();
  context.after(() => stream.socket.close());
  stream.watch(["A", "B"], "A");
  world.link.say(...WELCOME);
  const trade = (S, seq) => ({ T: "t", S, seq, epoch: 1, t: "2026-01-05T15:00:00Z", p: 1, s: 1 });
  world.link.say([trade("A", 1)], [trade("B", 1)], [trade("A", 3)]);
  assert.deepEqual([ticks.get("A").missed, ticks.get("B").missed], [true, false]);
  assert.equal(news.missed, 1);
  assert.equal(news.trades.length, 2, "the charted symbol's trades reach the chart");
});

test("bars of the charted symbol that did not arrive are missed, and nothing else is", (context) => {
  const { stream, news, ticks } = marketData();
  context.after(() => stream.socket.close());
  stream.watch(["A", "B"], "A");
  world.link.say(...WELCOME);
  let sent = 2;
  const say = (message) => world.link.say([message]) ?? (sent += 1);
  const beat = (told) =>
    say({ T: "heartbeat", sent, quotes: {}, trades: {}, quiet_ms: 10, t: null, ...told });
  const bar = (T, seq) => say({ T, S: "A", seq, epoch: 1, t: "2026-01-05T15:00:00Z" });

  for (const kind of ["b", "u", "d"]) bar(kind, 1);
  beat({ bars: { A: [1, 1], B: [1, 9] }, updatedBars: { A: [1, 1] }, dailyBars: { A: [1, 1] } });
  assert.equal(news.barsMissed, 0);

  bar("u", 3);
  assert.equal(news.barsMissed, 1);
  beat({ updatedBars: { A: [1, 3] }, dailyBars: { A: [1, 2] } });
  assert.equal(news.barsMissed, 2);
  beat({ dailyBars: { A: [1, 2] } });
  assert.equal(news.barsMissed, 2, "told once");
  assert.deepEqual([news.missed, ticks.get("A").missed], [0, false]);
});

const AT = "2026-01-05T15:00:00Z";
const trade = (seq, p, more = {}) => ({ i: 2 ** 32 + seq, t: AT, p, s: 5, seq, epoch: 1, ...more });

test("corrections and cancellations say what the last price is, and bars are not what they were", (context) => {
  const { stream, ticks, news } = marketData();
  context.after(() => stream.socket.close());
  stream.watch(["A", "B"], "A");
  world.link.say(...WELCOME);
  const told = { S: "A", epoch: 1, t: AT };
  world.link.say([{ T: "t", S: "A", ...trade(6, 9) }], [{ T: "t", S: "A", ...trade(7, 10) }]);
  const corrected = trade(7, 11, { u: "corrected", rank: [1, 7, 1] });
  world.link.say([{ T: "c", oi: 2 ** 32 + 7, cp: 11, cs: 5, ...told, seq: 1, last: corrected }]);
  assert.equal(ticks.get("A").last, 11);
  const before = trade(6, 9, { rank: [1, 7, 2] });
  world.link.say([{ T: "x", i: 2 ** 32 + 7, p: 11, s: 5, ...told, seq: 2, last: before }]);
  assert.deepEqual([ticks.get("A").last, ticks.get("A").missed], [9, false]);
  assert.deepEqual([news.amended, news.missed], [["A", "A"], 0]);
});

for (const [how, tells] of Object.entries({
  "the next one's number": (say) => say({ T: "c", S: "A", seq: 3, epoch: 1, t: AT }),
  "a heartbeat": (say, beat) => beat({ amendments: { A: [1, 2], B: [1, 1], C: [1, 9] } }),
  "a later snapshot": (say) =>
    say({ T: "snapshot", S: "A", quote: null, trade: null, trades: null, amendments: [1, 2], resync: null }),
})) {
  test(`a correction or cancellation that was lost shows by ${how}`, (context) => {
    const { stream, news, ticks } = marketData();
    context.after(() => stream.socket.close());
    stream.watch(["A", "B"], "A");
    world.link.say(...WELCOME);
    let sent = 2;
    const say = (message) => world.link.say([message]) ?? (sent += 1);
    const beat = (more = {}) =>
      say({ T: "heartbeat", sent, quotes: {}, trades: {}, quiet_ms: 10, t: null, ...more });
    const stands = (S, amendments, resync = null) =>
      say({ T: "snapshot", S, quote: null, trade: null, trades: null, amendments, resync });

    stands("A", null);
    stands("B", [1, 1]); // what was told before this
    say({ T: "x", S: "A", seq: 1, epoch: 1, t: AT });
    say({ T: "x", S: "A", seq: 1, epoch: 1, t: AT });
    beat({ amendments: { A: [1, 1], B: [1, 1] } });
    assert.deepEqual([news.missed, news.amended], [0, ["A", "A"]]);

    tells(say, beat);
    assert.deepEqual([ticks.get("A").missed, ticks.get("B").missed], [true, false]);
    assert.deepEqual([news.missed, news.amended], [1, ["A", "A", "A"]]);
    assert.deepEqual(world.link.sent.at(-1), { action: "resync", id: 1 });

    const last = how === "the next one's number" ? 3 : 2;
    stands("A", [1, last], 1);
    beat({ amendments: { A: [1, last] } });
    assert.deepEqual([ticks.get("A").missed, news.missed], [false, 1]);
  });
}

test("a symbol that is watched again begins with what its snapshot says", (context) => {
  const { stream, news } = marketData();
  context.after(() => stream.socket.close());
  stream.watch(["A"], "A");
  world.link.say(...WELCOME);
  const stands = (amendments) =>
    world.link.say([{ T: "snapshot", S: "A", quote: null, trade: null, trades: null, amendments }]);
  stands(null);
  stream.watch([], null);
  stream.watch(["A"], "A");
  stands([1, 4]);
  assert.deepEqual([news.missed, news.amended], [0, []]);
});

function accountUpdates() {
  const news = { updates: [], doubts: 0, pulses: [] };
  const stream = inWorld(
    () =>
      new AccountStream("ws://here", {
        changed: (state) => states.push(state),
        updated: (update) => news.updates.push(update.account_sequence),
        doubt: () => (news.doubts += 1),
        pulse: (whole) => news.pulses.push(whole),
      }),
  );
  world.link.open();
  return { stream, news };
}

test("after a break the account's stream is asked for what was missed", (context) => {
  const { stream, news } = accountUpdates();
  context.after(() => stream.socket.close());
  assert.deepEqual(world.link.sent[0].data, { streams: ["trade_updates"] });
  world.link.say({ stream: "listening", data: { account_sequence: 4 } });
  assert.equal(news.doubts, 1);
  world.link.say({ stream: "trade_updates", data: { account_sequence: 6 } });
  world.link.say({ stream: "trade_updates", data: { account_sequence: 6 } });
  assert.deepEqual(news.updates, [6]);
  stream.socket.connect = () => {};
  inWorld(() => Socket.prototype.connect.call(stream.socket));
  world.link.open();
  assert.equal(world.link.sent[0].data.since, 6);
});

test("the account's stream is live once it listens", (context) => {
  const { stream } = accountUpdates();
  context.after(() => stream.socket.close());
  assert.deepEqual(names(), ["connecting"]);
  world.link.say({ stream: "listening", data: { account_sequence: 4 } });
  assert.deepEqual(names(), ["connecting", "open"]);
});

test("an account's stream that refuses us is left and tried again", (context) => {
  const { stream } = accountUpdates();
  context.after(() => stream.socket.close());
  const refusal = { status: "unauthorized", action: "authenticate", error: "too many" };
  world.link.say({ stream: "authorization", data: refusal });
  assert.deepEqual([stream.socket.state.name, stream.socket.state.why], ["waiting", "too many"]);
});

test("a count of updates that is not ours is doubt", (context) => {
  const { stream, news } = accountUpdates();
  context.after(() => stream.socket.close());
  world.link.say({ stream: "listening", data: { account_sequence: 4 } });
  world.link.say({ stream: "heartbeat", data: { sent: 1, account_sequence: 4 } });
  assert.equal(news.doubts, 1);
  world.link.say({ stream: "heartbeat", data: { sent: 5, account_sequence: 7 } });
  assert.equal(news.doubts, 2);
});

test("a heartbeat tells whether the account's updates have all arrived", (context) => {
  const { stream, news } = accountUpdates();
  context.after(() => stream.socket.close());
  world.link.say({ stream: "listening", data: { account_sequence: 4 } });
  const beats = [
    [{ newest: 4 }, true],
    [{ newest: 4, current: false }, false],
    [{ newest: 5 }, true], // on its way
    [{ newest: 5 }, false], // and not arrived since
    [{ newest: 6, account_sequence: 5 }, true],
    [{ newest: 7, account_sequence: 5 }, false],
    [{ newest: 7, account_sequence: 7 }, true],
  ];
  beats.forEach(([beat], at) => {
    const data = { account_sequence: 4, current: true, sent: at + 1, ...beat };
    world.link.say({ stream: "heartbeat", data });
  });
  assert.deepEqual(news.pulses, beats.map(([, whole]) => whole));
  assert.equal(news.doubts, 1, "what the server lacks no question of ours brings");
});

test("the first heartbeat of a connection tells what is missing at once", (context) => {
  const { stream, news } = accountUpdates();
  context.after(() => stream.socket.close());
  const data = { account_sequence: 4, current: true };
  world.link.say({ stream: "listening", data: { account_sequence: 4 } });
  world.link.say({ stream: "heartbeat", data: { ...data, newest: 4 } });
  inWorld(() => Socket.prototype.connect.call(stream.socket));
  world.link.open();
  world.link.say({ stream: "heartbeat", data: { ...data, newest: 5 } });
  assert.deepEqual(news.pulses, [true, false]);
});

const LIVE = {
  market: { name: "open" },
  account: { name: "open" },
  updates: { name: "open" },
  feed: { name: "open", quietMs: 0 },
};

test("the worst of all connections is the one shown", () => {
  const clock = { mode: "live" };
  assert.deepEqual(judged(LIVE, 0, clock), { kind: "live", text: "Live" });
  const waiting = { name: "waiting", until: 3_500 };
  assert.equal(judged({ ...LIVE, account: waiting }, 0, clock).text, "Reconnecting in 3 s");
  assert.equal(
    judged({ ...LIVE, market: { name: "silent", since: 0 } }, 7_000, clock).text,
    "Stale for 7 s",
  );
  assert.deepEqual(judged({ ...LIVE, account: { name: "silent", since: 0 } }, 8_000, clock), {
    kind: "stale",
    word: "Stale",
    text: "Stale for 8 s",
  });
  for (const late of ["feed", "updates"]) {
    assert.deepEqual(judged({ ...LIVE, [late]: { name: "behind" } }, 0, clock), {
      kind: "stale",
      text: "Catching up",
    });
  }
  const silent = { name: "silent", quietMs: 8_000 };
  assert.deepEqual(judged({ ...LIVE, feed: silent }, 0, clock), {
    kind: "stale",
    word: "Feed silent",
    text: "Feed silent for 8 s",
  });
  const refused = { ...waiting, why: "auth failed" };
  assert.equal(judged({ ...LIVE, market: refused }, 0, clock).text, "Closed (auth failed), again in 3 s");
  assert.equal(judged({ ...LIVE, market: refused }, 0, clock).word, "Closed (auth failed)");
  assert.equal(judged({ ...LIVE, market: waiting }, 0, clock).word, "Reconnecting");
});

test("nothing is called live before both streams and the feed are known to be", () => {
  const clock = { mode: "live" };
  const starting = [
    { account: { name: "connecting" } },
    { market: { name: "connecting" } },
    { feed: { name: "unknown" } },
  ];
  for (const state of starting) {
    assert.equal(judged({ ...LIVE, ...state }, 0, clock).kind, "connecting");
    assert.deepEqual(judged({ ...LIVE, ...state, lost: true }, 0, clock), {
      kind: "reconnecting",
      text: "Reconnecting",
    });
  }
});

test("streams that the page itself has closed are told as that, and nothing is traded on them", () => {
  for (const stream of ["market", "account"]) {
    const state = { ...LIVE, feed: { name: "behind" }, [stream]: { name: "closed" } };
    assert.deepEqual(judged(state, 0, { mode: "live" }), { kind: "stale", text: "Closed" });
  }
});

test("a replay says its speed and its pause", () => {
  assert.equal(judged(LIVE, 0, { mode: "replay", speed: 60, paused: false }).text, "Replay ×60");
  assert.equal(judged(LIVE, 0, { mode: "replay", speed: 60, paused: true }).text, "Replay paused");
  assert.equal(judged(LIVE, 0, { mode: "stepped" }).text, "Stepped");
});

test("a simulation does not look like the live market", () => {
  const shown = judged(LIVE, 0, { mode: "simulated" });
  assert.deepEqual(shown, { kind: "live", text: "Simulated", shown: "simulated" });
  const silent = { ...LIVE, feed: { name: "silent", quietMs: 8_000 } };
  assert.equal(judged(silent, 0, { mode: "simulated" }).kind, "stale");
});
