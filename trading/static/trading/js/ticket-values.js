// What one click puts into the ticket: a size, a price of the quote, the end of a position.

import { fixed, parse, plain } from "./decimal.js";

const SHARE = parse("1");
const DOLLAR = parse("1");
const SHARES = ["10", "50", "100"];
const DOLLARS = ["100", "1000", "5000"];
const PARTS = [
  ["25%", 4n],
  ["50%", 2n],
  ["All", 1n],
];

/** Sizes to choose from, as [label, amount]: parts of the shares that are free to sell, or round ones. */
export function sizes({ side, by }, free) {
  if (by === "dollars") return DOLLARS.map((size) => [`$${size}`, size]);
  if (side !== "sell" || free === null || free <= 0n) return SHARES.map((size) => [size, size]);
  return PARTS.map(([label, divisor]) => [label, plain(partOf(free, divisor))]);
}

/** The quote's "bid", "ask" or "mid" as a limit price of the tick size; null where there is none. */
export function limitAt({ bid, ask }, which) {
  const [low, high] = [parse(bid), parse(ask)];
  const price = { bid: low, ask: high, mid: low && high && (low + high) / 2n }[which];
  return price ? fixed(price, price >= DOLLAR ? 2 : 4) : null;
}

/**
 * The market order that brings a position to nothing, for as much of it as is free. Where open orders
 * hold all of it, for all of it: the ticket then says that none is free.
 */
export function closing({ symbol, qty, qty_available: available }) {
  const held = parse(qty);
  const amount = plain(parse(available) || held).replace("-", "");
  const side = held < 0n ? "buy" : "sell";
  return { symbol, side, type: "market", by: "shares", amount, takeProfit: "", stopLoss: "" };
}

// Of whole shares a whole number, one at least.
function partOf(free, divisor) {
  if (free % SHARE !== 0n) return free / divisor;
  const shares = free / SHARE / divisor;
  return SHARE * (shares || 1n);
}
