import assert from "node:assert/strict";
import { test } from "node:test";

import {
  bucket,
  candle,
  grown,
  MOST_BARS,
  placed,
} from "../../trading/static/trading/js/candles.js";
import { Integrity } from "../../trading/static/trading/js/socket.js";
import { change, newest, Ticks } from "../../trading/static/trading/js/ticks.js";

const at = (second) => new Date(Date.UTC(2026, 0, 5, 15, 0, second)).toISOString();
const quote = (second, bid, ask, place = {}) => ({
  t: at(second),
  bp: bid,
  bs: 1,
  ap: ask,
  as: 2,
  ...place,
});

test("the newest quote wins, whatever order they come in", () => {
  const ticks = new Ticks();
  ticks.quote("A", quote(2, 10, 11));
  ticks.quote("A", quote(1, 8, 9));
  assert.equal(ticks.get("A").bid, 10);
});

test("the stream's quotes are in the order of their places, the API's by their instants", () => {
  const ticks = new Ticks();
  const bid = () => ticks.get("A").bid;
  ticks.quote("A", quote(5, 10, 11));
  ticks.quote("A", quote(4, 20, 21, { epoch: 1, seq: 7 }));
  assert.equal(bid(), 20, "the API's answer was ahead, the stream follows");
  ticks.quote("A", quote(3, 30, 31, { epoch: 1, seq: 8 }));
  assert.equal(bid(), 30, "newer, though of an earlier instant");
  ticks.quote("A", quote(6, 40, 41, { epoch: 1, seq: 7 }));
  ticks.quote("A", quote(3, 50, 51));
  assert.equal(bid(), 30);
  assert.deepEqual(ticks.behind({ A: [1, 8] }), []);
  ticks.quote("A", quote(6, 60, 61));
  ticks.quote("A", quote(2, 70, 71, { epoch: 2, seq: 1 }));
  assert.equal(bid(), 70);
});

test("what a heartbeat named and the stream then tells is shown", () => {
  const ticks = new Ticks();
  ticks.quote("A", quote(1, 10, 11, { epoch: 1, seq: 7 }));
  assert.deepEqual(ticks.behind({ A: [1, 9] }), ["A"]);
  ticks.standing("A", { quote: quote(2, 20, 21, { epoch: 1, seq: 9 }) });
  assert.equal(ticks.get("A").bid, 20);
});

test("an empty side is unknown, not zero", () => {
  const ticks = new Ticks();
  ticks.quote("A", quote(1, 0, 11));
  assert.equal(ticks.get("A").bid, null);
});

test("a trade that sets no price is not the last", () => {
  const ticks = new Ticks();
  ticks.trade("A", { t: at(1), p: 10, s: 5 });
  ticks.trade("A", { t: at(2), p: 99, s: 5, sets_price: false });
  assert.equal(ticks.get("A").last, 10);
});

test("what the last price is after an amendment the message says, and a later print is newer", () => {
  const ticks = new Ticks();
  const price = () => [ticks.get("A").last, ticks.get("A").lastSize];
  const print = (seq, p) => ({ i: 2 ** 32 + seq, t: at(seq), p, s: seq, seq, epoch: 1 });
  ticks.trade("A", print(6, 10));
  ticks.trade("A", print(7, 99));
  ticks.amendment("A", { i: 2 ** 32 + 5, p: 1, s: 1 });
  assert.deepEqual(price(), [99, 7], "of an earlier trade");

  const before = { ...print(6, 10), rank: [1, 7, 1] };
  ticks.amendment("A", { i: 2 ** 32 + 7, p: 99, s: 7, last: before });
  assert.deepEqual(price(), [10, 6]);
  assert.equal(newest(ticks.get("A")), Date.parse(at(6)));
  ticks.trade("A", print(7, 99));
  const { seq, epoch, ...answered } = print(7, 99);
  ticks.standing("A", { trade: answered });
  assert.deepEqual(price(), [10, 6], "the API was asked before that");

  ticks.amendment("A", { last: { ...print(6, 11), u: "corrected", rank: [1, 7, 2] } });
  assert.deepEqual(price(), [11, 6]);
  ticks.trade("A", print(8, 12));
  assert.deepEqual(price(), [12, 8]);
});

test("a last price that is canceled is none until the next trade, where none is known before", () => {
  const ticks = new Ticks();
  const print = { i: 2 ** 32 + 7, t: at(7), p: 99, s: 7, seq: 7, epoch: 1 };
  ticks.trade("A", print);
  ticks.amendment("A", { last: { ...print, u: "canceled", rank: [1, 7, 1] } });
  assert.deepEqual([ticks.get("A").last, newest(ticks.get("A"))], [null, null]);
  ticks.trade("A", print);
  assert.equal(ticks.get("A").last, null);
  ticks.trade("A", { ...print, i: 2 ** 32 + 8, seq: 8, p: 10 });
  assert.equal(ticks.get("A").last, 10);
});

test("before the stream says a rank, the API's correction of the same trade is news", () => {
  const ticks = new Ticks();
  const print = { i: 2 ** 32 + 7, t: at(7), p: 99, s: 7 };
  ticks.standing("A", { trade: print });
  ticks.standing("A", { trade: { ...print, p: 98, u: "corrected" } });
  ticks.standing("A", { trade: { ...print, i: 2 ** 32 + 6, p: 1 } });
  assert.equal(ticks.get("A").last, 98);
});

test("change is measured from the previous close", () => {
  const ticks = new Ticks();
  const bars = { dailyBar: { t: "2026-01-05T05:00:00Z", c: 10.1 }, prevDailyBar: { c: 10 } };
  ticks.snapshot("A", { latestTrade: { t: at(1), p: 10.1, s: 1 }, ...bars }, "2026-01-05");
  assert.deepEqual(change(ticks.get("A")), { amount: 0.1, fraction: 0.01 });
  assert.deepEqual(change(ticks.get("B")), { amount: null, fraction: null });
});

test("before the day's first trade the last session's close is the previous one", () => {
  const ticks = new Ticks();
  const bars = { dailyBar: { t: "2026-01-02T05:00:00Z", c: 11 }, prevDailyBar: { c: 10 } };
  ticks.snapshot("A", bars, "2026-01-05");
  assert.deepEqual([ticks.get("A").previousClose, ticks.get("A").day], [11, null]);
});

test("only what changed is painted, once", () => {
  const ticks = new Ticks();
  ticks.quote("A", quote(1, 10, 11));
  ticks.quote("A", quote(2, 10, 11));
  ticks.halt("B", true);
  assert.deepEqual([...ticks.take()], ["A", "B"]);
  assert.equal(ticks.take().size, 0);
});

test("a lost message marks the symbol until the stream has healed it, whatever the API answers", () => {
  const ticks = new Ticks();
  ticks.miss("A");
  ticks.snapshot("A", { latestQuote: quote(1, 10, 11) });
  assert.equal(ticks.get("A").missed, true);
  ticks.heal("A");
  assert.equal(ticks.get("A").missed, false);
});

test("a symbol that the stream left is told anew, and what it lost before is over", () => {
  const ticks = new Ticks();
  ticks.join("A");
  ticks.miss("A");
  ticks.take();
  ticks.leave(["A"]);
  assert.deepEqual([ticks.get("A").streamed, ticks.get("A").missed], [false, false]);
  assert.deepEqual([...ticks.take()], ["A"]);
  ticks.snapshot("A", { latestQuote: quote(1, 10, 11) });
  assert.equal(ticks.get("A").streamed, false, "the API's quote may be old");
  ticks.join("A");
  assert.equal(ticks.get("A").streamed, true);
});

test("a heartbeat names quotes that did not arrive, once", () => {
  const ticks = new Ticks();
  ticks.quote("A", quote(1, 10, 11, { epoch: 1, seq: 7 }));
  ticks.quote("B", quote(1, 10, 11, { epoch: 1, seq: 7 }));
  assert.deepEqual(ticks.behind({ A: [1, 7], B: [1, 9] }), ["B"]);
  assert.deepEqual(ticks.behind({ A: [1, 7], B: [1, 9] }), []);
  assert.deepEqual(ticks.behind({ A: [2, 1] }), ["A"]);
});

test("a symbol's age is that of its newest news", () => {
  const ticks = new Ticks();
  assert.equal(newest(ticks.get("A")), null);
  ticks.quote("A", quote(1, 10, 11));
  ticks.trade("A", { t: at(3), p: 10, s: 1 });
  assert.equal(newest(ticks.get("A")), Date.parse(at(3)));
});

test("missing trades are noticed, jumping quotes are not", () => {
  const integrity = new Integrity();
  const message = (T, seq, epoch = 1) => ({ T, S: "A", seq, epoch });
  assert.ok(integrity.follows(message("t", 5)));
  assert.ok(integrity.follows(message("t", 6)));
  assert.ok(!integrity.follows(message("t", 8)));
  assert.ok(integrity.follows(message("t", 9)));
  assert.ok(integrity.follows(message("t", 9)), "a repeat is no gap");
  assert.ok(integrity.follows(message("q", 1)));
  assert.ok(integrity.follows(message("q", 50)));
  assert.ok(integrity.follows(message("t", 1, 2)), "a new epoch counts anew");
});

test("the stream goes on from where its snapshot stands", () => {
  const integrity = new Integrity();
  integrity.startAt("A", [1, 5]);
  assert.ok(integrity.follows({ T: "t", S: "A", seq: 4, epoch: 1 }), "older than the snapshot");
  assert.ok(!integrity.follows({ T: "t", S: "A", seq: 7, epoch: 1 }));
});

test("a count of messages that is not ours is told once", () => {
  const integrity = new Integrity();
  integrity.frames = 10;
  assert.ok(integrity.agrees(10));
  assert.ok(!integrity.agrees(12));
  assert.ok(integrity.agrees(12));
});

const trade = (second, price, size = 1) => ({ t: at(second), p: price, s: size });
const START = Date.parse(at(0)) / 1000;

test("trades widen the growing bar and open the next", () => {
  let bar = grown(null, "1Min", trade(1, 10));
  bar = grown(bar, "1Min", trade(2, 12));
  bar = grown(bar, "1Min", trade(3, 9, 4));
  assert.deepEqual(bar, { time: START, open: 10, high: 12, low: 9, close: 9, volume: 6 });
  const next = grown(bar, "1Min", trade(61, 11));
  assert.deepEqual([next.time, next.open], [START + 60, 11]);
});

test("a volume-only or late trade does not move a bar's price", () => {
  const bar = grown(null, "1Min", trade(61, 10));
  assert.equal(grown(bar, "1Min", trade(2, 99)), bar);
  const heavier = grown(bar, "1Min", { ...trade(62, 99, 5), sets_price: false });
  assert.deepEqual([heavier.high, heavier.volume], [10, 6]);
});

test("a day's bar grows in place, for only the server knows its start", () => {
  const day = candle({ t: "2026-01-05T05:00:00Z", o: 1, h: 2, l: 1, c: 2, v: 10 });
  const later = grown(day, "1Day", trade(1, 3));
  assert.deepEqual([later.time, later.high, bucket("1Day", START)], [day.time, 3, null]);
});

test("a trade of the next day leaves the last day's bar as it was", () => {
  const day = candle({ t: "2026-01-05T05:00:00Z", o: 1, h: 2, l: 1, c: 2, v: 10 });
  const on = (t) => grown(day, "1Day", { t, p: 9, s: 1 });
  assert.equal(on("2026-01-06T14:30:00Z"), day);
  assert.equal(on("2026-01-06T05:00:00Z"), day, "midnight in New York");
  assert.equal(on("2026-01-05T04:59:59Z"), day, "the day before");
  assert.equal(on("2026-01-06T04:59:59Z").close, 9);
  assert.equal(grown(null, "1Day", trade(1, 3)), null);
});

test("a corrected bar replaces its own, and a chart stays bounded", () => {
  const bars = [{ time: 0 }, { time: 60 }, { time: 120 }];
  assert.deepEqual(placed(bars, { time: 60, close: 5 })[1], { time: 60, close: 5 });
  assert.deepEqual(
    placed(bars, { time: 90 }).map((bar) => bar.time),
    [0, 60, 90, 120],
  );
  const many = Array.from({ length: MOST_BARS }, (_, n) => ({ time: n }));
  assert.equal(placed(many, { time: MOST_BARS }).length, MOST_BARS);
});
