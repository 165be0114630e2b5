import assert from "node:assert/strict";
import { test } from "node:test";

import {
  fixed,
  number,
  parse,
  plain,
  product,
  round,
  ungrouped,
} from "../../trading/static/trading/js/decimal.js";

test("reads what the wire writes", () => {
  assert.equal(parse("187.42"), 187_420_000_000n);
  assert.equal(parse(187.42), 187_420_000_000n);
  assert.equal(parse("-0.000000001"), -1n);
  assert.equal(parse(1e-7), 100n);
});

test("knows what is no amount", () => {
  for (const text of [null, undefined, "", ".", "abc", "1e5", "1.0000000001", "--1", "1,000"]) {
    assert.equal(parse(text), null, String(text));
  }
});

test("a comma groups thousands or makes no number", () => {
  for (const [typed, amount] of [
    ["1,000", "1000"],
    [" 12,345,678.25 ", "12345678.25"],
    ["187.50", "187.5"],
  ]) {
    assert.equal(plain(parse(ungrouped(typed))), amount);
  }
  for (const typed of ["187,50", "1,00", "1000,000", ",500", "1,000,5", "1.000,50", "0.000,001"]) {
    assert.equal(parse(ungrouped(typed)), null, typed);
  }
});

test("writes back what it read", () => {
  for (const text of ["0", "1", "-1", "0.1", "100000", "-12.345678901", "9999999999.000000001"]) {
    const units = parse(text);
    assert.equal(plain(units ?? 0n), units === null ? "0" : text);
  }
  assert.equal(plain(parse("1.500")), "1.5");
});

test("rounds half to even, as the ledger does", () => {
  assert.equal(plain(round(parse("0.00005"), 4)), "0");
  assert.equal(plain(round(parse("0.00015"), 4)), "0.0002");
  assert.equal(plain(round(parse("-0.00015"), 4)), "-0.0002");
  assert.equal(plain(round(parse("0.000051"), 4)), "0.0001");
});

test("a product is exact before its one rounding", () => {
  assert.equal(plain(product(parse("0.1"), parse("0.2"))), "0.02");
  assert.equal(plain(product(parse("0.333333333"), parse("300.01"))), "100.0033");
  assert.equal(plain(product(parse("-1000000000"), parse("9999999.9999"))), "-9999999999900000");
});

test("unknown goes through", () => {
  assert.equal(product(null, 1n), null);
  assert.equal(round(null, 2), null);
  assert.equal(number(null), null);
});

test("writes a fixed number of decimals", () => {
  assert.equal(fixed(parse("12.345"), 2), "12.34");
  assert.equal(fixed(parse("12.355"), 2), "12.36");
  assert.equal(fixed(parse("-0.5"), 0), "0");
  assert.equal(fixed(parse("7"), 4), "7.0000");
});
