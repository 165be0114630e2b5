import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { ChartData } from "../../trading/static/trading/js/chart-data.js";

const bar = (minute, fields = {}) => ({
  T: "b", S: "A", t: `2026-01-05T15:0${minute}:00Z`, o: 1, h: 2, l: 1, c: 2, v: 10, n: 3, ...fields,
});

function charted(timeframe = "1Min") {
  const handlers = {};
  const desk = { selected: "A", on: (name, hear) => (handlers[name] = hear) };
  const told = { replaced: [], moved: [] };
  const data = new ChartData(desk, {
    replaced: (bars) => told.replaced.push(bars),
    moved: (moved) => told.moved.push(moved),
    failed: assert.fail,
  });
  data.timeframe = timeframe;
  return { data, told, say: handlers.bar };
}

test("a bar whose trades were all taken back is taken off the chart", () => {
  const { data, told, say } = charted();
  for (const minute of [1, 2]) say(bar(minute));

  say(bar(1, { T: "u", h: 9 }));
  assert.deepEqual(data.bars.map(({ high }) => high), [9, 2]);
  say(bar(1, { T: "u", v: 0, n: 0 }));

  assert.deepEqual(data.bars.map(({ high }) => high), [2]);
  assert.equal(told.replaced.at(-1), data.bars);
});

test("a longer bar is fetched anew when one of its minutes is corrected, once for many", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const { data, say } = charted("5Min");
  data.fetch = mock.fn();

  for (const minute of [1, 2]) say(bar(minute, { T: "u" }));
  say(bar(3));
  assert.equal(data.fetch.mock.callCount(), 0); // it is not stored yet
  mock.timers.tick(2_000);

  assert.equal(data.fetch.mock.callCount(), 1);
  say(bar(3, { T: "u" }));
  mock.timers.tick(2_000);
  assert.equal(data.fetch.mock.callCount(), 2);
});
