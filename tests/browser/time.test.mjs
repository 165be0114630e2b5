import assert from "node:assert/strict";
import { test } from "node:test";

import { described } from "../../trading/static/trading/js/market-clock.js";
import { MarketTime } from "../../trading/static/trading/js/market-time.js";
import * as newYork from "../../trading/static/trading/js/new-york.js";

const OPENING = Date.parse("2013-10-07T09:30:00-04:00");
const CLOCK = {
  timestamp: "2013-10-07T09:30:00-04:00",
  is_open: true,
  next_open: "2013-10-08T09:30:00-04:00",
  next_close: "2013-10-07T16:00:00-04:00",
};

test("exchange time is New York's, in summer and in winter", () => {
  assert.equal(newYork.time(OPENING), "09:30:00");
  assert.equal(newYork.time(Date.parse("2026-01-05T14:30:00Z")), "09:30:00");
  assert.equal(newYork.day(Date.parse("2026-01-05T03:00:00Z")), "2026-01-04");
});

test("chart seconds read as wall time on both sides of a clock change", () => {
  const asUtc = (iso) => new Date(newYork.wallSeconds(Date.parse(iso) / 1000) * 1000).toISOString();
  assert.equal(asUtc("2026-03-08T06:59:00Z"), "2026-03-08T01:59:00.000Z");
  assert.equal(asUtc("2026-03-08T07:01:00Z"), "2026-03-08T03:01:00.000Z");
});

test("an instant of another day carries its date", () => {
  assert.equal(newYork.when(OPENING, OPENING + 60_000), "09:30:00");
  assert.equal(newYork.when(OPENING, OPENING + 86_400_000), "2013-10-07 09:30");
  assert.equal(newYork.when(OPENING, null), "2013-10-07 09:30", "today is not known yet");
});

test("a replay's market time runs at its speed", () => {
  const market = new MarketTime();
  assert.equal(market.now(0), null);
  market.set({ ...CLOCK, mode: "replay", speed: 60, paused: false }, 1_000);
  assert.equal(market.now(2_000), OPENING + 60_000);
});

test("a paused replay and a stepped market stand", () => {
  const market = new MarketTime();
  market.set({ ...CLOCK, mode: "replay", speed: 60, paused: true }, 0);
  assert.equal(market.now(5_000), OPENING);
  market.set({ ...CLOCK, mode: "stepped", speed: 1, paused: false }, 0);
  assert.equal(market.now(5_000), OPENING);
});

test("market time never runs backwards", () => {
  const market = new MarketTime();
  market.set({ ...CLOCK, mode: "replay", speed: 60 }, 0);
  const ahead = market.now(10_000);
  market.observe(OPENING + 60_000, 10_000);
  assert.equal(market.now(10_100), ahead);
  assert.ok(market.now(30_000) > ahead);
});

test("outside the regular session the calendar says which it is", () => {
  const market = new MarketTime();
  market.set({ ...CLOCK, is_open: false, mode: "live" }, 0);
  market.hours = { open: "09:30", close: "16:00", session_open: "0400", session_close: "2000" };
  const at = (time) => market.sessionAt(Date.parse(`2013-10-07T${time}:00-04:00`));
  assert.deepEqual(["03:59", "04:00", "09:29"].map(at), ["closed", "pre", "pre"]);
  assert.deepEqual(["16:00", "19:59", "20:00"].map(at), ["after", "after", "closed"]);
  market.hours = null;
  assert.equal(at("12:00"), "closed");
});

test("the clock says when the session turns", () => {
  const market = new MarketTime();
  market.set({ ...CLOCK, mode: "live" }, 0);
  assert.equal(described(market, OPENING), "Open · closes 16:00");
  assert.equal(described(market, market.nextClose - 600_000), "Open · closes in 10 min");
  market.set({ ...CLOCK, is_open: false, mode: "live" }, 0);
  assert.equal(described(market, OPENING), "Closed · opens in 1 d 0 h");
});
