import assert from "node:assert/strict";
import { test } from "node:test";

import { Desk } from "../../trading/static/trading/js/desk.js";
import { attach as attachHeader } from "../../trading/static/trading/js/quote-header.js";
import { delay, LONGEST_MS, SHORTEST_MS } from "../../trading/static/trading/js/socket.js";
import { Allowance, MOST_AT_ONCE, Throttle } from "../../trading/static/trading/js/flash.js";
import { perFrame } from "../../trading/static/trading/js/frames.js";
import { action, KEYS } from "../../trading/static/trading/js/keymap.js";
import { coalesced, gathered } from "../../trading/static/trading/js/refresh.js";

test("waits grow to a bound and are spread over all of it", () => {
  assert.equal(
    delay(3, () => 0.999_999),
    4_000,
  );
  assert.equal(
    delay(3, () => 0.5),
    2_125,
  );
  assert.equal(
    delay(40, () => 0.999_999_9),
    LONGEST_MS,
  );
  assert.equal(
    delay(5, () => 0),
    SHORTEST_MS,
  );
});

test("no two of many screens come back at one instant, at the first attempt either", () => {
  const waits = Array.from({ length: 100 }, (_, n) => delay(0, () => n / 100));
  assert.equal(new Set(waits).size, 100);
  assert.deepEqual([Math.min(...waits), Math.max(...waits)], [SHORTEST_MS, 498]);
});

test("a cell flashes at most four times a second", () => {
  const throttle = new Throttle();
  const flashes = Array.from({ length: 100 }, (_, n) => throttle.passes(n * 10)).filter(Boolean);
  assert.equal(flashes.length, 4);
});

test("of very many cells that move at once only some flash", () => {
  const allowance = new Allowance();
  const flashes = (from) =>
    Array.from({ length: 600 }, (_, n) => allowance.passes(from + (n * 99) / 600)).filter(Boolean);
  assert.equal(flashes(0).length, MOST_AT_ONCE);
  assert.equal(flashes(100).length, MOST_AT_ONCE);
});

test("any number of changes is one paint a frame", () => {
  const frames = [];
  let paints = 0;
  const paint = perFrame(
    () => (paints += 1),
    (frame) => frames.push(frame),
  );
  paint();
  paint();
  paint();
  frames.shift()();
  assert.deepEqual([paints, frames.length], [1, 0]);
  paint();
  assert.equal(frames.length, 1);
});

test("a snapshot's price is painted with all others, in their frame", () => {
  const parts = {};
  const part = () => ({ textContent: "", getAttribute() {}, setAttribute() {}, removeAttribute() {} });
  globalThis.document = { querySelector: (name) => (parts[name] ??= part()) };
  const desk = new Desk({ mode: "live", speed: 1 });
  attachHeader(desk);
  desk.select("A");
  const last = () => parts["[data-quote=\"last\"]"].textContent;
  desk.ticks.take();

  desk.ticks.snapshot("A", { latestTrade: { t: "2026-01-05T15:00:00Z", p: 10, s: 1 } }, "2026-01-05");
  desk.tell("snapshots");
  assert.equal(last(), "–");
  desk.tell("ticks", desk.ticks.take());
  assert.equal(last(), "10.00");
});

test("requests made while one runs become one more", async () => {
  let running = 0;
  let runs = 0;
  const load = coalesced(async () => {
    running += 1;
    runs += 1;
    assert.equal(running, 1);
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
  });
  await Promise.all([load(), load(), load(), load()]);
  assert.equal(runs, 2);
  await load();
  assert.equal(runs, 3);
});

test("news that come together are one request", () => {
  const timers = [];
  let runs = 0;
  const load = gathered(
    () => (runs += 1),
    100,
    (run, ms) => timers.push({ run, ms }),
  );
  load();
  load();
  load();
  assert.deepEqual([runs, timers.length, timers[0].ms], [0, 1, 100]);
  timers.shift().run();
  assert.equal(runs, 1);
  load();
  assert.equal(timers.length, 1);
});

test("a failed load does not block the next", async () => {
  let runs = 0;
  const load = coalesced(async () => {
    runs += 1;
    if (runs === 1) throw new Error("away");
  });
  await assert.rejects(load());
  await load();
  assert.equal(runs, 2);
});

test("keys act, except while typing or with a modifier", () => {
  assert.equal(action({ key: "b", target: { tagName: "BODY" } }), "buy");
  assert.equal(action({ key: "b", target: { tagName: "INPUT", type: "text" } }), null);
  assert.equal(action({ key: "b", target: { tagName: "INPUT", type: "radio" } }), "buy");
  assert.equal(action({ key: "c", ctrlKey: true, target: { tagName: "BODY" } }), null);
  assert.equal(action({ key: "X", target: { tagName: "BODY" } }), "cancel-all");
  assert.equal(action({ key: "q", target: { tagName: "BODY" } }), null);
  assert.equal(new Set(KEYS.map(({ key }) => key)).size, KEYS.length);
});
