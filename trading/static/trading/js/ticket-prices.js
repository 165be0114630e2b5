// The prices that an order is made of, and those of its exits: which there are, and whether they make
// sense beside each other.

import { parse, plain, round } from "./decimal.js";

const CENT = parse("0.01");

// The prices that an order of each type is made of, and how the API calls them.
const PRICES = {
  market: [],
  limit: ["limitPrice"],
  stop: ["stopPrice"],
  stop_limit: ["stopPrice", "limitPrice"],
  trailing_stop: ["trail"],
  exits: ["takeProfit", "stopLoss"],
};
export const NAMES = { limitPrice: "limit_price", stopPrice: "stop_price", trail: "trail_percent" };
const CALLED = {
  limitPrice: "a limit price",
  stopPrice: "a stop price",
  takeProfit: "a price for the profit",
  stopLoss: "a price for the loss",
};

/** Whether an order of this type has that price. */
export function has(order, field) {
  return PRICES[order.type].includes(field);
}

/** Whether exits may be added to an order of this type: those of a bracket or an OTO. */
export function takesExits(order) {
  return order.by === "shares" && (order.type === "market" || order.type === "limit");
}

/** Whether this is no entry but the two exits of what is held already: an OCO. */
export function isExits(order) {
  return order.type === "exits";
}

export function hasExits(order) {
  return takesExits(order) && (order.takeProfit !== "" || order.stopLoss !== "");
}

/** The first thing that is wrong with the prices of the order itself; null: nothing. */
export function malformedPrices(order) {
  for (const field of PRICES[order.type]) {
    const problem = field === "trail" ? malformedTrail(order) : malformedPrice(order, field);
    if (problem) return problem;
  }
  return null;
}

function malformedTrail(order) {
  const trail = parse(order.trail);
  if (trail !== null && trail > 0n && trail < parse("100")) return null;
  return at("trail", wanted(order.trail, "a percentage above 0 and below 100"));
}

function malformedPrice(order, field) {
  const price = parse(order[field]);
  if (price === null || price <= 0n) return at(field, wanted(order[field], CALLED[field]));
  const places = price >= parse("1") ? 2 : 4;
  if (round(price, places) === price) return null;
  return at(field, `At most ${places} decimals ${places === 2 ? "from" : "below"} 1 dollar.`);
}

/** Exits lie on both sides of each other, and the stop beyond the price of the entry. */
export function malformedExits(order) {
  for (const field of ["takeProfit", "stopLoss"]) {
    const problem = order[field] === "" ? null : malformedPrice(order, field);
    if (problem) return problem;
  }
  const [profit, loss, base] = [order.takeProfit, order.stopLoss, order.limitPrice].map(parse);
  const long = (order.side === "buy") !== isExits(order);
  const [sign, way] = long ? [1n, "below"] : [-1n, "above"];
  if (loss === null) return null;
  if (profit !== null && sign * (profit - loss) <= 0n) {
    return at("stopLoss", `The stop has to lie ${way} the price for the profit.`);
  }
  if (has(order, "limitPrice") && sign * (base - loss) < CENT) {
    return at("stopLoss", `The stop has to lie ${way} the limit price.`);
  }
  return null;
}

/** The exits in the body of the order: both make a bracket, one alone an OTO, without entry an OCO. */
export function exits(order) {
  const both = isExits(order) ? "oco" : "bracket";
  const found = { order_class: order.takeProfit && order.stopLoss ? both : "oto" };
  if (order.takeProfit) found.take_profit = { limit_price: plain(parse(order.takeProfit)) };
  if (order.stopLoss) found.stop_loss = { stop_price: plain(parse(order.stopLoss)) };
  return found;
}

export function takesDollars(order) {
  return order.type === "market" || order.type === "limit";
}

export function isStop(order) {
  return order.type === "stop" || order.type === "stop_limit" || order.type === "trailing_stop";
}

/** What to type instead of what is no such number, as a sentence. */
export function wanted(typed, what) {
  if (typed.includes(",")) return "Write decimals with a point, as in 187.50.";
  return `Enter ${what}.`;
}

/** What is wrong with a field, as a sentence. */
export function at(field, text) {
  return { field, text };
}
