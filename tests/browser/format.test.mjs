import assert from "node:assert/strict";
import { test } from "node:test";

import * as format from "../../trading/static/trading/js/format.js";

test("prices have two decimals, four below a dollar, more only where they exist", () => {
  assert.equal(format.price(187.4), "187.40");
  assert.equal(format.price("1234.5678"), "1,234.5678");
  assert.equal(format.price(0.1234), "0.1234");
  assert.equal(format.price(0), "0.00");
  assert.equal(format.price(null), "–");
});

test("differences of prices keep their cents", () => {
  assert.equal(format.step(-0.7), "−0.70");
  assert.equal(format.step(0.0004), "0.0004");
});

test("gains and losses carry their sign, nothing does not", () => {
  assert.equal(format.signed(12.5), "+12.50");
  assert.equal(format.signed(-12.5), "−12.50");
  assert.equal(format.signed(0), "0.00");
  assert.equal(format.signed(-0.001), "0.00");
  assert.equal(format.percent(0.0123), "+1.23%");
  assert.equal(format.percent(-0.5), "−50.00%");
  assert.equal(format.percent(null), "–");
});

test("quantities have the decimals they have", () => {
  assert.equal(format.quantity("1000"), "1,000");
  assert.equal(format.quantity("0.123456789"), "0.123456789");
});

test("ages tell their largest unit", () => {
  const told = [0.4, 1, 59.9, 60, 3_599, 7_200, 200_000].map(format.age);
  assert.deepEqual(told, ["now", "1 s", "59 s", "1 min", "59 min", "2 h", "2 d"]);
  assert.equal(format.age(null), "–");
});

test("spans tell their two largest units", () => {
  assert.equal(format.span(20), "under a minute");
  assert.equal(format.span(3 * 3600 + 25 * 60), "3 h 25 min");
  assert.equal(format.span(50 * 3600), "2 d 2 h");
});

test("direction has an arrow besides the colour", () => {
  assert.deepEqual([1, -1, 0, null].map(format.direction), ["up", "down", "flat", "flat"]);
  assert.deepEqual([1, -1, 0].map(format.arrow), ["▲", "▼", ""]);
});
