import assert from "node:assert/strict";
import { test } from "node:test";

import { parse } from "../../trading/static/trading/js/decimal.js";
import { closing, limitAt, sizes } from "../../trading/static/trading/js/ticket-values.js";

test("every quote has a middle, in steps that its price allows", () => {
  for (const [bid, ask, middle] of [
    [10.1, 10.2, "10.15"],
    [99.99, 100.02, "100.00"],
    [99.98, 100.01, "100.00"],
    [187.41, 187.43, "187.42"],
    [0.1234, 0.1237, "0.1236"],
    [0.9998, 1.0004, "1.00"],
  ]) {
    assert.equal(limitAt({ bid, ask }, "mid"), middle, `${bid} and ${ask}`);
  }
  for (let cents = 1_000; cents < 1_200; cents += 1) {
    const [bid, ask] = [cents / 100, (cents + 2) / 100];
    assert.equal(limitAt({ bid, ask }, "mid"), ((cents + 1) / 100).toFixed(2));
  }
});

test("a side of the quote is a limit as it stands, and none where it is missing", () => {
  assert.equal(limitAt({ bid: 10.1, ask: null }, "bid"), "10.10");
  assert.equal(limitAt({ bid: null, ask: 0.5 }, "ask"), "0.5000");
  for (const which of ["ask", "mid"]) assert.equal(limitAt({ bid: 10.1, ask: null }, which), null);
});

const closed = (qty, available) => {
  const { side, amount, by, type } = closing({ symbol: "A", qty, qty_available: available });
  return [type, side, amount, by];
};

test("what is free of a position is closed, to the last digit and from its own side", () => {
  assert.deepEqual(closed("10", "4"), ["market", "sell", "4", "shares"]);
  assert.deepEqual(closed("-10", "-4"), ["market", "buy", "4", "shares"]);
  assert.deepEqual(closed("0.0000005", "0.0000005"), ["market", "sell", "0.0000005", "shares"]);
});

test("a position that open orders hold is still closed from its own side", () => {
  assert.deepEqual(closed("-10", "0"), ["market", "buy", "10", "shares"]);
  assert.deepEqual(closed("10", "0"), ["market", "sell", "10", "shares"]);
});

test("sizes to choose from are parts of what is free to sell, and never more", () => {
  const offered = (order, free) => sizes(order, parse(free)).map(([, amount]) => amount);
  const sale = { side: "sell", by: "shares" };
  assert.deepEqual(offered(sale, "10"), ["2", "5", "10"]);
  assert.deepEqual(offered(sale, "1"), ["1", "1", "1"]);
  assert.deepEqual(offered(sale, "0.1"), ["0.025", "0.05", "0.1"]);
  assert.deepEqual(offered(sale, "0.333333333"), ["0.083333333", "0.166666666", "0.333333333"]);
  for (const free of [undefined, "0", "-4"]) {
    assert.deepEqual(offered(sale, free), ["10", "50", "100"]);
  }
  assert.deepEqual(offered({ side: "buy", by: "shares" }, "10"), ["10", "50", "100"]);
  assert.deepEqual(sizes({ side: "sell", by: "dollars" }, parse("10"))[0], ["$100", "100"]);
});
