import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, plain } from "../../trading/static/trading/js/decimal.js";
import { matches } from "../../trading/static/trading/js/search-rank.js";
import {
  blankOrder,
  blocked,
  body,
  estimate,
  obstacle,
} from "../../trading/static/trading/js/ticket-rules.js";

const QUOTE = { symbol: "AAPL", bid: 99.99, ask: 100.01, halted: false };
const OPEN = { open: true, stale: null, blocked: null, shorting: false };
const typed = (values) => ({ ...blankOrder("AAPL"), amount: "10", ...values });

function verdict(values, { quote = QUOTE, position = null, market = OPEN, power = "100000" } = {}) {
  const order = typed(values);
  const estimated = estimate(order, quote, parse(power), position);
  return obstacle(order, { quote, position, market, estimated });
}

test("an order that can go has nothing in its way", () => {
  assert.equal(verdict({}), null);
  assert.equal(verdict({ type: "limit", limitPrice: "99.50", timeInForce: "gtc" }), null);
  assert.equal(verdict({ by: "dollars", amount: "250.50" }), null);
});

test("a market buy costs the ask and holds four percent more", () => {
  const estimated = estimate(typed({}), QUOTE, parse("100000"));
  assert.equal(plain(estimated.value), "1000.1");
  assert.equal(plain(estimated.held), "1040.104");
  assert.equal(plain(estimated.left), "98959.896");
});

test("a limit buy costs its limit, a sale holds no cash", () => {
  assert.equal(
    plain(estimate(typed({ type: "limit", limitPrice: "90" }), QUOTE, parse("1000")).held),
    "900",
  );
  const held = { qty: "10", qty_available: "10" };
  assert.equal(plain(estimate(typed({ side: "sell" }), QUOTE, parse("1000"), held).held), "0");
});

test("an amount in dollars tells about how many shares it is", () => {
  const estimated = estimate(typed({ by: "dollars", amount: "500.05" }), QUOTE, parse("1000"));
  assert.equal(plain(estimated.shares), "5");
  assert.equal(plain(estimated.held), "500.05");
});

for (const [name, values, context, expected] of [
  ["no symbol", { symbol: null }, {}, /Choose a symbol/],
  ["a halted symbol", {}, { quote: { ...QUOTE, halted: true } }, /halted/],
  ["a closed market", {}, { market: { ...OPEN, open: false } }, /closed/],
  [
    "stale quotes",
    {},
    { market: { ...OPEN, stale: "Quotes are not live." } },
    /needs a live quote/,
  ],
  ["no ask", {}, { quote: { ...QUOTE, ask: null } }, /no ask/],
  ["a frozen account", {}, { market: { ...OPEN, blocked: "This account is frozen." } }, /frozen/],
  ["no amount", { amount: "" }, {}, /Enter a number of shares/],
  ["a negative amount", { amount: "-5" }, {}, /Enter a number/],
  ["words for an amount", { amount: "ten" }, {}, /Enter a number/],
  ["a comma for a point", { amount: "1,5" }, {}, /decimals with a point/],
  ["a limit with a comma", { type: "limit", limitPrice: "187,50" }, {}, /decimals with a point/],
  ["less than a dollar", { by: "dollars", amount: "0.5" }, {}, /At least 1 dollar/],
  ["parts of a cent", { by: "dollars", amount: "10.001" }, {}, /Whole cents/],
  ["a fraction until canceled", { amount: "0.5", timeInForce: "gtc" }, {}, /day orders/],
  ["no limit price", { type: "limit" }, {}, /Enter a limit price/],
  ["a sub-penny limit", { type: "limit", limitPrice: "99.505" }, {}, /At most 2 decimals/],
  ["no stop price", { type: "stop" }, {}, /Enter a stop price/],
  ["a stop at once", { type: "stop", stopPrice: "105", timeInForce: "ioc" }, {}, /for the day/],
  ["a stop limit without limit", { type: "stop_limit", stopPrice: "105" }, {}, /a limit price/],
  ["a stop in dollars", { type: "stop", stopPrice: "105", by: "dollars" }, {}, /market or limit/],
  ["a trail of everything", { type: "trailing_stop", trail: "100" }, {}, /below 100/],
  ["a fractional trail", { type: "trailing_stop", trail: "5", amount: "1.5" }, {}, /Whole shares/],
  ["exits the wrong way", { takeProfit: "90", stopLoss: "95" }, {}, /has to lie below the price/],
  [
    "a stop at the entry",
    { type: "limit", limitPrice: "99", stopLoss: "99" },
    {},
    /below the limit price/,
  ],
  [
    "exits of an order that closes",
    { side: "sell", takeProfit: "90" },
    { position: { qty: "10", qty_available: "10" } },
    /enters a position/,
  ],
  ["a sub-penny exit", { takeProfit: "110.005" }, {}, /At most 2 decimals/],
  ["exits of a fraction", { amount: "1.5", stopLoss: "90" }, {}, /Whole shares/],
  ["more than there is", { amount: "5000" }, {}, /Not enough buying power/],
  ["selling what is not held", { side: "sell" }, {}, /does not sell short/],
  [
    "selling what is reserved",
    { side: "sell" },
    { position: { qty: "10", qty_available: "4" } },
    /Only 4 free/,
  ],
]) {
  test(`the ticket stops at ${name}`, () => {
    assert.match(verdict(values, context)?.text ?? "nothing", expected);
  });
}

const LENDER = { ...OPEN, shorting: true };
const SHORT = { qty: "-10", qty_available: "-4" };

test("a sale of what is not held counts for three percent above the ask, or its limit", () => {
  const held = (values) => estimate(typed({ side: "sell", ...values }), QUOTE, parse("5000")).held;
  assert.equal(plain(held({})), "1030.103");
  assert.equal(plain(held({ type: "limit", limitPrice: "150" })), "1500");
  assert.equal(plain(held({ type: "limit", limitPrice: "90" })), "1030.103");
});

test("who may sell short can, as far as the buying power goes", () => {
  const sale = { side: "sell" };
  assert.equal(verdict(sale, { market: LENDER }), null);
  assert.match(verdict(sale, { market: LENDER, power: "1030" }).text, /Not enough buying power/);
  assert.match(verdict({ ...sale, amount: "1.5" }, { market: LENDER }).text, /whole shares/);
});

test("buying back takes no buying power, and no more than is short and free", () => {
  const context = { position: SHORT, market: LENDER, power: "0" };
  assert.equal(verdict({ amount: "4" }, context), null);
  assert.match(verdict({ amount: "5" }, context).text, /Only 4 free to buy back/);
  assert.match(verdict({ amount: "50", by: "dollars" }, context).text, /by the number/);
});

test("a limit order may wait while the market is closed or quotes are stale", () => {
  const limit = { type: "limit", limitPrice: "99.50" };
  assert.equal(verdict(limit, { market: { ...OPEN, open: false } }), null);
  assert.equal(verdict(limit, { market: { ...OPEN, stale: "Quotes are not live." } }), null);
});

test("a penny stock takes four decimals", () => {
  assert.equal(verdict({ type: "limit", limitPrice: "0.1234" }), null);
});

test("the request says what was typed, as decimal strings", () => {
  assert.deepEqual(body(typed({ type: "limit", limitPrice: "99.50", side: "sell" }), "id-1"), {
    symbol: "AAPL",
    side: "sell",
    type: "limit",
    time_in_force: "day",
    qty: "10",
    limit_price: "99.5",
    client_order_id: "id-1",
  });
  const byAmount = body(typed({ by: "dollars", amount: "250" }), "id-2");
  assert.deepEqual([byAmount.notional, "qty" in byAmount], ["250", false]);
});

test("search puts the symbol itself first, then beginnings, then names", () => {
  const assets = [
    { symbol: "BAC", name: "Bank of America" },
    { symbol: "AMZN", name: "Amazon.com" },
    { symbol: "AM", name: "Antero Midstream" },
    { symbol: "XOM", name: "Exxon Mobil" },
  ];
  assert.deepEqual(
    matches(assets, "am").map(({ symbol }) => symbol),
    ["AM", "AMZN", "BAC"],
  );
  assert.deepEqual(
    matches(assets, "mobil").map(({ symbol }) => symbol),
    ["XOM"],
  );
  assert.deepEqual(matches(assets, "zzz"), []);
});

test("a stop, a stop limit and a trailing stop say their prices", () => {
  const sent = (values) => {
    const { type, stop_price, limit_price, trail_percent } = body(typed(values), "id-1");
    return [type, stop_price, limit_price, trail_percent];
  };
  assert.deepEqual(sent({ type: "stop", stopPrice: "105", limitPrice: "9" }), [
    "stop",
    "105",
    undefined,
    undefined,
  ]);
  assert.deepEqual(sent({ type: "stop_limit", stopPrice: "105", limitPrice: "106" }), [
    "stop_limit",
    "105",
    "106",
    undefined,
  ]);
  assert.deepEqual(sent({ type: "trailing_stop", trail: "2.5" }), [
    "trailing_stop",
    undefined,
    undefined,
    "2.5",
  ]);
});

test("two exits make a bracket, one an OTO, and a stop takes none", () => {
  const both = body(typed({ takeProfit: "110", stopLoss: "90.50" }), "id-1");
  assert.equal(both.order_class, "bracket");
  assert.deepEqual(both.take_profit, { limit_price: "110" });
  assert.deepEqual(both.stop_loss, { stop_price: "90.5" });
  const one = body(typed({ stopLoss: "90" }), "id-1");
  assert.deepEqual([one.order_class, one.take_profit], ["oto", undefined]);
  const stop = body(typed({ type: "stop", stopPrice: "105", stopLoss: "90" }), "id-1");
  assert.equal(stop.order_class, undefined);
  assert.equal(verdict({ takeProfit: "110", stopLoss: "90" }), null);
});

test("exits of what is held are an OCO on the other side", () => {
  const held = { position: { qty: "10", qty_available: "10" } };
  const exits = { type: "exits", side: "sell", takeProfit: "120", stopLoss: "90.5" };
  assert.equal(verdict(exits, held), null);
  const { type, side, order_class, take_profit, stop_loss, limit_price } = body(typed(exits), "id");
  assert.deepEqual([type, side, order_class, limit_price], ["limit", "sell", "oco", undefined]);
  assert.deepEqual([take_profit, stop_loss], [{ limit_price: "120" }, { stop_price: "90.5" }]);
  assert.equal(plain(estimate(typed(exits), QUOTE, parse("0"), held.position).value), "1200");

  const bought = { ...exits, side: "buy", takeProfit: "90", stopLoss: "120", amount: "4" };
  assert.equal(verdict(bought, { position: SHORT, market: LENDER }), null);
});

for (const [name, values, qty, expected] of [
  ["without anything held", {}, null, /hold no AAPL/],
  ["without a profit target", { takeProfit: "" }, "10", /Enter a price for the profit/],
  ["without a stop", { stopLoss: "" }, "10", /Enter a price for the loss/],
  ["the wrong way round", { stopLoss: "125" }, "10", /stop has to lie below/],
  ["of more than is free", { amount: "11" }, "10", /Only 10 free/],
  ["of a fraction", { amount: "1.5" }, "10", /Whole shares/],
  ["at once", { timeInForce: "ioc" }, "10", /for the day/],
  ["in dollars", { by: "dollars" }, "10", /market or limit/],
]) {
  test(`the ticket stops at exits ${name}`, () => {
    const exits = { type: "exits", side: "sell", takeProfit: "120", stopLoss: "90", ...values };
    const position = qty && { qty, qty_available: qty };
    assert.match(verdict(exits, { position, market: LENDER })?.text ?? "nothing", expected);
  });
}

test("a stop buy holds what it may cost beyond its stop", () => {
  const estimated = estimate(typed({ type: "stop", stopPrice: "105" }), QUOTE, parse("100000"));
  assert.equal(plain(estimated.held), "1092");
});

test("an account that cannot trade is told why, a closed one that it is closed", () => {
  const open = { account_blocked: false, trading_blocked: false, trade_suspended_by_user: false };
  assert.equal(blocked(open), null);
  assert.match(blocked(null), /not loaded/);
  assert.match(blocked({ ...open, trading_blocked: true }), /frozen by an operator/);
  assert.match(blocked({ ...open, account_blocked: true, trading_blocked: true }), /is closed/);
  assert.match(blocked({ ...open, trade_suspended_by_user: true }), /You have suspended/);
});
