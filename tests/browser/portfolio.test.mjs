import assert from "node:assert/strict";
import { test } from "node:test";

import { NoAnswer } from "../../trading/static/trading/js/api.js";
import { parse, plain } from "../../trading/static/trading/js/decimal.js";
import {
  described,
  refusalNotice,
  tradeNotice,
} from "../../trading/static/trading/js/notice-text.js";
import { Desk } from "../../trading/static/trading/js/desk.js";
import { taker } from "../../trading/static/trading/js/trade-updates.js";
import { cancelable, Orders, purpose, reason } from "../../trading/static/trading/js/orders.js";
import { accountNow, mark, valued } from "../../trading/static/trading/js/valuation.js";

const LONG = {
  symbol: "AAPL",
  qty: "3",
  cost_basis: "300",
  current_price: "110",
  market_value: "330",
  unrealized_intraday_pl: "15",
};
const SHORT = {
  ...LONG,
  qty: "-3",
  cost_basis: "-300",
  market_value: "-330",
  unrealized_intraday_pl: "-15",
};

test("at the API's own price the screen says the API's own numbers", () => {
  const now = valued(LONG, parse("110"));
  assert.deepEqual([now.value, now.unrealized, now.today].map(plain), ["330", "30", "15"]);
  assert.equal(now.unrealizedFraction, 0.1);
});

test("a newer price moves all profits by the same amount", () => {
  const now = valued(LONG, parse("111.5"));
  assert.deepEqual([now.value, now.unrealized, now.today].map(plain), ["334.5", "34.5", "19.5"]);
});

test("a short position gains when the price falls", () => {
  const now = valued(SHORT, parse("90"));
  assert.deepEqual([now.value, now.unrealized].map(plain), ["-270", "30"]);
  assert.equal(now.unrealizedFraction, 0.1);
});

test("a position nobody has priced counts at its cost", () => {
  const now = valued({ ...LONG, current_price: null, market_value: null }, null);
  assert.deepEqual([now.value, now.unrealized].map(plain), ["300", "0"]);
});

test("a holding is marked at last, else mid, else the API's price", () => {
  assert.equal(plain(mark({ last: 12, bid: 1, ask: 2 }, LONG)), "12");
  assert.equal(plain(mark({ last: null, bid: 10.01, ask: 10.02 }, LONG)), "10.015");
  assert.equal(plain(mark({ last: null, bid: null, ask: 2 }, LONG)), "110");
  assert.equal(mark(undefined, { current_price: null }), null);
});

test("equity is cash and values, and the day's profit moves with them", () => {
  const account = { cash: "670", equity: "1000", last_equity: "950", buying_power: "670" };
  const now = accountNow(account, [valued(LONG, parse("111"))]);
  assert.deepEqual([now.equity, now.dayProfit, now.holdings].map(plain), ["1003", "53", "333"]);
});

test("updates that come together are shown together, in one frame", () => {
  const frames = [];
  globalThis.requestAnimationFrame = (paint) => frames.push(paint);
  const desk = new Desk({ mode: "live", speed: 1 });
  let shown = 0;
  desk.on("orders", () => (shown += 1));
  const told = [];
  const take = taker(desk, {
    notices: { tell: ({ title }) => told.push(title) },
    sync: { portfolioSoon() {} },
  });

  for (const id of ["a", "b", "c"]) take({ event: "canceled", order: order(id, "canceled") });

  assert.deepEqual([desk.orders.finished.length, told.length, shown], [3, 3, 0]);
  frames.shift()();
  assert.deepEqual([shown, frames.length], [1, 0]);
});

const order = (id, status, extra = {}) => ({
  id,
  status,
  symbol: "AAPL",
  side: "buy",
  qty: "10",
  notional: null,
  limit_price: "187.5",
  filled_qty: "0",
  submitted_at: "2026-01-05T15:00:00.000000Z",
  updated_at: "2026-01-05T15:00:00.000000Z",
  ...extra,
});

test("an order that ended never opens again", () => {
  const orders = new Orders();
  orders.put([order("a", "new")]);
  orders.put([order("a", "filled", { filled_qty: "10" })]);
  orders.put([order("a", "new", { updated_at: "2026-01-05T15:00:09.000000Z" })]);
  assert.deepEqual(orders.open, []);
  assert.equal(orders.finished[0].status, "filled");
});

test("a late answer does not take back a fill", () => {
  const orders = new Orders();
  orders.put([order("a", "partially_filled", { filled_qty: "4" })]);
  orders.put([order("a", "new")]);
  assert.equal(orders.open[0].filled_qty, "4");
});

test("orders missing from the open list are open no more", () => {
  const orders = new Orders();
  orders.put([order("a", "new"), order("b", "new")]);
  orders.replaceOpen([order("b", "new")], new Set(["a", "b"]));
  assert.deepEqual(
    orders.open.map(({ id }) => id),
    ["b"],
  );
});

test("an order that was made while the open list was on its way stays open", () => {
  const orders = new Orders();
  orders.put([order("b", "new"), order("c", "accepted")]);
  orders.replaceOpen([order("b", "new")], new Set(["b"]));
  assert.deepEqual(orders.open.map(({ id }) => id).sort(), ["b", "c"]);
});

test("newest orders come first", () => {
  const orders = new Orders();
  orders.put([
    order("a", "new"),
    order("b", "new", { submitted_at: "2026-01-05T15:00:01.000000Z" }),
  ]);
  assert.deepEqual(
    orders.open.map(({ id }) => id),
    ["b", "a"],
  );
});

test("an order says why it waits", () => {
  assert.equal(
    reason(order("a", "new", { reason: "limit is below the ask" })),
    "limit is below the ask",
  );
  assert.equal(reason(order("a", "accepted", { reason: null })), "Waiting to be admitted");
  assert.equal(reason(order("a", "new", { reason: null })), "");
  assert.equal(reason(order("a", "new"), { ask: 188.2 }), "Ask 188.20 is above the limit");
  assert.equal(reason(order("a", "partially_filled"), { ask: 187.5 }), "Waiting for size");
  assert.ok(cancelable(order("a", "accepted")) && !cancelable(order("a", "filled")));
  assert.ok(cancelable(order("a", "suspended")));
});

test("fills are told with price and what is left", () => {
  const update = {
    event: "partial_fill",
    order: order("a", "partially_filled", { filled_qty: "4" }),
    price: "187.45",
    qty: "4",
  };
  const notice = tradeNotice(update);
  assert.equal(notice.title, "Bought 4 AAPL at 187.45");
  assert.equal(notice.detail, "4 of 10 so far.");
  assert.equal(notice.urgent, false);
});

test("a rejection is urgent and says why", () => {
  const notice = tradeNotice({
    event: "rejected",
    order: order("a", "rejected", { reason: "no longer affordable" }),
  });
  assert.deepEqual([notice.urgent, notice.detail], [true, "no longer affordable"]);
});

test("a refusal is a plain sentence and the code", () => {
  const notice = refusalNotice(
    { status: 403, code: 40310000, message: "insufficient buying power" },
    "Order",
  );
  assert.equal(notice.title, "Order refused");
  assert.equal(notice.detail, "Insufficient buying power. (403 / 40310000)");
  assert.match(refusalNotice({ status: 0, message: "" }, "Order").detail, /gave no reason/);
  const unanswered = new NoAnswer("No answer in time");
  assert.equal(refusalNotice(unanswered, "Cancel").title, "Cancel: no answer");
  assert.equal(refusalNotice(unanswered, "Cancel").detail, "No answer in time.");
  const doubted = Object.assign(unanswered, { unknown: true });
  assert.match(refusalNotice(doubted, "Order").detail, /in time\. Whether it arrived is not known/);
});

test("an order by amount is described by its amount", () => {
  assert.equal(
    described(order("a", "new", { qty: null, notional: "500", limit_price: null })),
    "Buy $500 of AAPL",
  );
});

test("a leg stands under its parent also when its update was faster than the answer", () => {
  const orders = new Orders();
  const at = { submitted_at: "2026-01-05T15:00:01Z", updated_at: "2026-01-05T15:00:02Z" };
  orders.put([order("s", "new", { type: "stop", ...at })]);
  orders.put([
    order("p", "new", {
      submitted_at: "2026-01-05T15:00:00Z",
      legs: [order("s", "held", { type: "stop", ...at, updated_at: at.submitted_at })],
    }),
  ]);
  assert.deepEqual(
    orders.arranged.map(({ id, status }) => [id, status]),
    [["p", "new"], ["s", "new"]],
  );
});

test("legs stand under their parent, and keep it when they are replaced", () => {
  const orders = new Orders();
  const leg = (id, type, at) => order(id, "new", { type, submitted_at: at });
  orders.put([order("z", "new", { submitted_at: "2026-01-05T15:00:03Z" })]);
  orders.put([
    order("p", "new", {
      submitted_at: "2026-01-05T15:00:00Z",
      legs: [leg("l", "limit", "2026-01-05T15:00:01Z"), leg("s", "stop", "2026-01-05T15:00:02Z")],
    }),
  ]);
  assert.deepEqual(
    orders.arranged.map(({ id }) => id),
    ["z", "p", "l", "s"],
  );
  assert.deepEqual(orders.arranged.map(purpose), ["", "", "Take profit", "Stop loss"]);

  orders.put([order("s", "replaced")]);
  orders.put([order("t", "new", { type: "stop", replaces: "s", submitted_at: "2026-01-05T15:00:04Z" })]);
  assert.deepEqual(
    orders.arranged.map(({ id }) => id),
    ["p", "l", "t", "z"],
  );
});
