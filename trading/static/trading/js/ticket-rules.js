// What an order would cost, and why it cannot be sent just now: the ticket shows it, this decides.

import { number, parse, plain, product, round } from "./decimal.js";
import {
  at,
  exits,
  has,
  hasExits,
  isExits,
  isStop,
  malformedExits,
  malformedPrices,
  NAMES,
  takesDollars,
  wanted,
} from "./ticket-prices.js";

// A market buy is matched as a limit this far above the ask, so this much is held (DESIGN 6).
const COLLAR = parse("1.04");
// What is sold short counts for at least this much above the ask.
const SHORT = parse("1.03");
/** An order as the ticket holds it: texts as typed, `by` "shares" or "dollars". */
export function blankOrder(symbol = null) {
  return {
    symbol,
    side: "buy",
    type: "market",
    by: "shares",
    amount: "",
    limitPrice: "",
    stopPrice: "",
    trail: "",
    takeProfit: "",
    stopLoss: "",
    timeInForce: "day",
  };
}

/**
 * The price it would trade at now, what that costs, what is held until then, and what is left of
 * the buying power. Exact decimals; null where something is not known yet. What closes a position
 * holds shares and no buying power.
 */
export function estimate(order, quote, buyingPower, position = null) {
  const touch = parse(order.side === "buy" ? quote?.ask : quote?.bid);
  const price = ["market", "trailing_stop"].includes(order.type) ? touch : ownPrice(order);
  const amount = parse(order.amount);
  const value = order.by === "dollars" ? amount : product(amount, price);
  const held = opens(order, position) ? holdOf(order, value, quote) : 0n;
  const shares = order.by === "shares" ? amount : sharesFor(amount, price);
  const left = held === null || buyingPower === null ? null : buyingPower - held;
  return { price, value, held, shares, left };
}

/** The first reason why this order cannot be sent, as a sentence with its field; null: none. */
export function obstacle(order, { quote, position, market, estimated }) {
  return (
    trouble(order, quote, market) ??
    unowned(order, position, market) ??
    malformed(order) ??
    unwhole(order, position) ??
    unaffordable(order, position, estimated)
  );
}

/** Why the account cannot trade at all, as a sentence; null: it can, or the server will say. */
export function blocked(account) {
  if (account === null) return "The account is not loaded yet.";
  if (account.account_blocked) return "This account is closed.";
  if (account.trading_blocked) return "This account is frozen by an operator.";
  return account.trade_suspended_by_user ? "You have suspended trading for this account." : null;
}

/** The JSON body of POST /v2/orders. */
export function body(order, clientOrderId) {
  const size = order.by === "dollars" ? "notional" : "qty";
  const request = {
    symbol: order.symbol,
    side: order.side,
    type: isExits(order) ? "limit" : order.type,
    time_in_force: order.timeInForce,
    [size]: plain(parse(order.amount)),
    client_order_id: clientOrderId,
  };
  for (const [field, name] of Object.entries(NAMES)) {
    if (has(order, field)) request[name] = plain(parse(order[field]));
  }
  return hasExits(order) || isExits(order) ? { ...request, ...exits(order) } : request;
}

/** True where a sale is of what is not held: it opens or adds to a short position. */
export function sellsShort(order, position) {
  if (order.side !== "sell") return false;
  return (parse(position?.qty) ?? 0n) <= 0n;
}

/** True where a purchase buys back what was sold short. */
export function covers(order, position) {
  return order.side === "buy" && (parse(position?.qty) ?? 0n) < 0n;
}

// The price that the order itself names.
function ownPrice(order) {
  if (isExits(order)) return parse(order.takeProfit);
  return parse(has(order, "limitPrice") ? order.limitPrice : order.stopPrice);
}

function opens(order, position) {
  return order.side === "buy" ? !covers(order, position) : sellsShort(order, position);
}

// Whether the market can take this order at all.
function trouble(order, quote, market) {
  if (!order.symbol) return at("symbol", "Choose a symbol from the watchlist or the search.");
  if (market.blocked) return at("form", market.blocked);
  if (quote?.halted) return at("form", `Trading in ${order.symbol} is halted.`);
  if (order.type !== "market") return null;
  if (!market.open) {
    return at("form", "The market is closed. A limit order can wait for the next open.");
  }
  if (market.stale) return at("form", `${market.stale} A market order needs a live quote.`);
  const side = order.side === "buy" ? quote?.ask : quote?.bid;
  if (!side) return at("form", `There is no ${order.side === "buy" ? "ask" : "bid"} to trade at.`);
  return null;
}

// Whether there is anything to sell.
function unowned(order, position, market) {
  if (isExits(order) && opens(order, position)) {
    return at("form", `You hold no ${order.symbol}. Exits are for what you hold.`);
  }
  if (hasExits(order) && !opens(order, position)) {
    return at("form", "Exits go with an order that enters a position, not with one that closes it.");
  }
  if (market.shorting || !sellsShort(order, position)) return null;
  return at("form", `You hold no ${order.symbol}, and this account does not sell short.`);
}

// Whether what was typed makes an order.
function malformed(order) {
  const amount = parse(order.amount);
  const unit = order.by === "dollars" ? "an amount in dollars" : "a number of shares";
  if (amount === null || amount <= 0n) return at("amount", wanted(order.amount, unit));
  if (order.by === "dollars" && amount < parse("1")) return at("amount", "At least 1 dollar.");
  if (order.by === "dollars" && round(amount, 2) !== amount) return at("amount", "Whole cents.");
  const fractional = order.by === "dollars" || round(amount, 0) !== amount;
  if (fractional && order.timeInForce !== "day") {
    return at("timeInForce", "Fractions of a share and dollar amounts must be day orders.");
  }
  if (order.by === "dollars" && !takesDollars(order)) {
    return at("amount", "Orders in dollars are market or limit orders.");
  }
  const exiting = isExits(order) || hasExits(order);
  if (order.timeInForce === "ioc" && (isStop(order) || exiting)) {
    return at("timeInForce", "Stops and exits are for the day or until canceled.");
  }
  if (fractional && (order.type === "trailing_stop" || exiting)) {
    return at("amount", "Whole shares only.");
  }
  return malformedPrices(order) ?? (exiting ? malformedExits(order) : null);
}

// Shares are lent whole, and a number of them is what there is to give back.
function unwhole(order, position) {
  const amount = parse(order.amount);
  const whole = order.by === "shares" && round(amount, 0) === amount;
  if (sellsShort(order, position) && !whole) {
    return at("amount", "Only whole shares can be sold short.");
  }
  if (covers(order, position) && order.by === "dollars") {
    return at("amount", "What was sold short is bought back by the number of shares.");
  }
  return null;
}

// Whether the account can carry it. The server decides; this only spares a round trip.
function unaffordable(order, position, estimated) {
  if (opens(order, position)) {
    const tooMuch = estimated.left !== null && estimated.left < 0n;
    return tooMuch ? at("amount", "Not enough buying power.") : null;
  }
  const available = parse(position?.qty_available);
  if (available === null || estimated.shares === null) return null;
  const free = available < 0n ? -available : available;
  if (estimated.shares <= free) return null;
  const verb = order.side === "sell" ? "sell" : "buy back";
  return at("amount", `Only ${plain(free)} free to ${verb}.`);
}

function holdOf(order, value, quote) {
  if (order.side === "sell") {
    const limit = has(order, "limitPrice") ? parse(order.limitPrice) : null;
    const least = product(parse(quote?.ask), SHORT);
    const price = limit !== null && (least === null || limit > least) ? limit : least;
    return product(parse(order.amount), price);
  }
  const limited = has(order, "limitPrice") || order.by === "dollars";
  return limited ? value : product(value, COLLAR);
}

function sharesFor(amount, price) {
  if (amount === null || !price) return null;
  return parse((number(amount) / number(price)).toFixed(6));
}
