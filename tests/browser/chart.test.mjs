import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { isStep, placed } from "../../trading/static/trading/js/candles.js";
import { attach } from "../../trading/static/trading/js/chart.js";
import { ChartData } from "../../trading/static/trading/js/chart-data.js";
import { Desk } from "../../trading/static/trading/js/desk.js";

const bar = (minute, fields = {}) => ({
  T: "b", S: "A", t: `2026-01-05T15:0${minute}:00Z`, o: 1, h: 2, l: 1, c: 2, v: 10, n: 3, ...fields,
});

function charted(timeframe = "1Min", failed = assert.fail) {
  const handlers = {};
  const market = { now: () => Date.parse("2026-01-05T15:10:00Z") };
  const desk = { selected: "A", market, on: (name, hear) => (handlers[name] = hear) };
  const told = { replaced: [], moved: [] };
  const data = new ChartData(desk, {
    replaced: (bars) => told.replaced.push(bars),
    moved: (moved) => told.moved.push(moved),
    failed,
  });
  data.timeframe = timeframe;
  return { data, told, say: handlers.bar, trade: handlers.trade, amended: handlers.amended };
}

test("a bar whose trades were all taken back is taken off the chart", () => {
  const { data, told, say } = charted();
  data.isLoaded = true;
  for (const minute of [1, 2]) say(bar(minute));

  say(bar(1, { T: "u", h: 9 }));
  assert.deepEqual(data.bars.map(({ high }) => high), [9, 2]);
  say(bar(1, { T: "u", v: 0, n: 0 }));

  assert.deepEqual(data.bars.map(({ high }) => high), [2]);
  assert.equal(told.replaced.at(-1), data.bars);
});

test("one bar is drawn where only that one is new, else all of them", () => {
  const at = (time, close = 1) => ({ time, close });
  const put = (bars, ...more) => more.reduce(placed, bars);
  const drawn = [at(1), at(2)];

  assert.ok(isStep(drawn, put(drawn, at(2, 5))));
  assert.ok(isStep(drawn, put(drawn, at(3))));
  assert.ok(isStep(drawn, put(drawn, at(3), at(3, 5))));
  assert.ok(isStep([], [at(1)]));
  assert.ok(!isStep(drawn, put(drawn, at(2, 5), at(3))), "the drawn one is not what it was");
  assert.ok(!isStep(drawn, put(drawn, at(3), at(4))));
  assert.ok(!isStep([], drawn));
});

/** An element that keeps its attributes and is not shown anywhere. */
const node = () => ({
  attributes: {},
  append() {},
  addEventListener() {},
  getAttribute(name) { return this.attributes[name] ?? null; },
  setAttribute(name, value) { this.attributes[name] = String(value); },
  removeAttribute(name) { delete this.attributes[name]; },
});

test("bars that stream into an empty chart take its message away, and none is left out", async (t) => {
  const nodes = {};
  const frames = [];
  const told = [];
  globalThis.document = { createElement: node, querySelector: (name) => (nodes[name] ??= node()) };
  globalThis.requestAnimationFrame = (paint) => frames.push(paint);
  t.mock.method(globalThis, "fetch", async () => Response.json({ bars: {} }));
  const desk = new Desk({ mode: "live", speed: 1 });
  attach(desk);
  for (const topic of ["bars", "bars-moved"]) desk.on(topic, ({ bars }) => told.push([topic, bars.length]));

  desk.select("A");
  const message = nodes["[data-chart-message]"];
  for (let turn = 0; turn < 1_000 && message.textContent === "Loading bars…"; turn += 1) {
    await new Promise(setImmediate);
  }
  assert.equal(message.textContent, "No bars in this span yet.");
  desk.tell("bar", bar(0));
  frames.shift()();
  assert.equal(message.attributes.hidden, "true");
  for (const minute of [1, 2, 3]) desk.tell("bar", bar(minute));
  frames.shift()();
  desk.tell("bar", bar(3, { v: 20 }));
  frames.shift()();

  assert.deepEqual(told.slice(-3), [["bars-moved", 1], ["bars", 4], ["bars-moved", 4]]);
});

test("a longer bar is fetched anew when one of its minutes is corrected, once for many", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { data, say } = charted("5Min");
  data.fetch = mock.fn();

  for (const minute of [1, 2]) say(bar(minute, { T: "u" }));
  say(bar(3));
  assert.equal(data.fetch.mock.callCount(), 0); // it is not stored yet
  t.mock.timers.tick(2_000);

  assert.equal(data.fetch.mock.callCount(), 1);
  say(bar(3, { T: "u" }));
  t.mock.timers.tick(2_000);
  assert.equal(data.fetch.mock.callCount(), 2);
});

/** A chart of five minutes whose history answers `stored`, or fails where that is an error. */
async function refreshed(t, stored) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { data, told, say, trade, amended } = charted("5Min");
  t.mock.method(globalThis, "fetch", async () => {
    if (stored.bars instanceof Error) throw stored.bars;
    return Response.json({ bars: { A: stored.bars.toReversed() } });
  });
  await data.load();
  const answered = async () => {
    const fetch = t.mock.method(data, "fetch");
    t.mock.timers.tick(2_000);
    await fetch.mock.calls[0].result;
  };
  return { data, told, say, trade, amended, answered };
}

const shape = ({ open, high, low, close, volume }) => [open, high, low, close, volume];

test("trades that are not stored yet stay in the growing bar when others are fetched", async (t) => {
  const stored = { bars: [bar(0), bar(5)] };
  const { data, say, trade, answered } = await refreshed(t, stored);
  trade({ S: "A", t: "2026-01-05T15:06:00Z", p: 9, s: 5 });

  say(bar(1, { T: "u" }));
  stored.bars = [bar(0, { h: 4 }), bar(5, { l: 0.5, v: 12 })];
  trade({ S: "A", t: "2026-01-05T15:07:00Z", p: 3, s: 5 });
  await answered();

  assert.deepEqual(data.bars.map(shape), [[1, 4, 1, 2, 10], [1, 9, 0.5, 3, 20]]);
});

test("a bar that began meanwhile stays, and so does what it followed", async (t) => {
  const stored = { bars: [bar(0), bar(5)] };
  const { data, say, trade, answered } = await refreshed(t, stored);

  say(bar(1, { T: "u" }));
  trade({ S: "A", t: "2026-01-05T15:09:59Z", p: 9, s: 5 });
  trade({ S: "A", t: "2026-01-05T15:10:00Z", p: 7, s: 1 });
  await answered();

  assert.deepEqual(data.bars.map(shape).slice(1), [[1, 9, 1, 9, 15], [7, 7, 7, 7, 1]]);
});

test("a correction in the growing bar itself takes a wrong price away", async (t) => {
  const stored = { bars: [bar(0), bar(5)] };
  const { data, say, trade, answered } = await refreshed(t, stored);
  trade({ S: "A", t: "2026-01-05T15:05:30Z", p: 9, s: 5 });

  say(bar(5, { T: "u" }));
  await answered();

  assert.deepEqual(data.bars.map(shape).at(-1), [1, 2, 1, 2, 10]);
});

test("a trade that is taken back leaves the growing bar before that is over", async (t) => {
  const stored = { bars: [bar(0), bar(5)] };
  const { data, trade, amended, answered } = await refreshed(t, stored);
  trade({ S: "A", t: "2026-01-05T15:05:30Z", p: 9, s: 5 });

  amended("B");
  amended("A");
  await answered();

  assert.deepEqual(data.bars.map(shape).at(-1), [1, 2, 1, 2, 10]);
});

test("what streams in while a chart is loaded is shown with it, and not before", async (t) => {
  const { data, told, say, trade } = charted();
  let answer;
  t.mock.method(globalThis, "fetch", () => new Promise((resolve) => (answer = resolve)));

  const loaded = data.load();
  say(bar(0, { h: 9 }));
  say(bar(2));
  say(bar(3));
  say(bar(3, { T: "u", v: 0, n: 0 }));
  trade({ S: "A", t: "2026-01-05T15:02:30Z", p: 7, s: 5 });
  assert.deepEqual(told, { replaced: [null], moved: [] });
  answer(Response.json({ bars: { A: [bar(1), bar(0)] } }));
  await loaded;

  assert.deepEqual(data.bars.map(shape), [[1, 2, 1, 2, 10], [1, 2, 1, 2, 10], [1, 7, 1, 7, 15]]);
  assert.deepEqual(told, { replaced: [null, data.bars], moved: [] });
});

test("a good chart stays as it is where it cannot be fetched anew, and is corrected later", async (t) => {
  const stored = { bars: [bar(0), bar(5)] };
  const { data, say, answered } = await refreshed(t, stored);
  const before = data.bars;

  say(bar(5, { T: "u" }));
  stored.bars = new Error("away"); // `failed` would fail this test
  await answered();
  assert.equal(data.bars, before);

  say(bar(1, { T: "u" }));
  stored.bars = [bar(0), bar(5, { h: 1.5 })];
  await answered();
  assert.deepEqual(data.bars.map(({ high }) => high), [2, 1.5]);
});

test("a chart that could not be fetched says so, and is fetched until it can be", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const said = [];
  const { data } = charted("5Min", (error) => said.push(error.message));
  const answers = [new TypeError("away"), new TypeError("away"), [bar(0)]];
  t.mock.method(globalThis, "fetch", async () => {
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return Response.json({ bars: { A: answer } });
  });
  const fetch = t.mock.method(data, "fetch");

  await data.load();
  for (const again of [1, 2]) {
    t.mock.timers.tick(1_000);
    await fetch.mock.calls[again].result;
  }

  assert.deepEqual(said, ["Openbell cannot be reached", "Openbell cannot be reached"]);
  assert.equal(data.bars.length, 1);
  t.mock.timers.tick(60_000);
  assert.equal(fetch.mock.callCount(), 3);
});
