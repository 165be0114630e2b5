import assert from "node:assert/strict";
import { test } from "node:test";

import { changeable, changes, terms } from "../../trading/static/trading/js/order-changes.js";

const LIMIT = {
  status: "new",
  order_class: "simple",
  qty: "10",
  limit_price: "99.5",
  stop_price: null,
  trail_percent: null,
  trail_price: null,
};

test("what works and has a number of shares can be changed", () => {
  assert.equal(changeable(LIMIT), true);
  assert.equal(changeable({ ...LIMIT, status: "accepted" }), false);
  assert.equal(changeable({ ...LIMIT, status: "filled" }), false);
  assert.equal(changeable({ ...LIMIT, qty: null }), false);
});

test("an order changes in the terms that it has", () => {
  assert.deepEqual(terms(LIMIT), { qty: "10", limit_price: "99.5" });
  assert.deepEqual(terms({ ...LIMIT, stop_price: "95" }), {
    qty: "10",
    limit_price: "99.5",
    stop_price: "95",
  });
  const trailing = { ...LIMIT, limit_price: null, stop_price: "94", trail_percent: "5" };
  assert.deepEqual(terms(trailing), { qty: "10", trail: "5" });
});

test("who belongs to a bracket changes in price alone", () => {
  assert.deepEqual(terms({ ...LIMIT, order_class: "bracket" }), { limit_price: "99.5" });
  const entry = { ...LIMIT, order_class: "bracket", limit_price: null };
  assert.equal(changeable(entry), false);
});

test("only what was typed otherwise is sent", () => {
  assert.deepEqual(changes(LIMIT, { qty: "10.0", limit_price: "98.50" }), { limit_price: "98.5" });
  assert.deepEqual(changes(LIMIT, { qty: "12", limit_price: "99.5" }), { qty: "12" });
  assert.deepEqual(changes(LIMIT, { qty: "10", limit_price: "99.50" }), {});
  assert.equal(changes(LIMIT, { qty: "ten", limit_price: "99.5" }), null);
});
