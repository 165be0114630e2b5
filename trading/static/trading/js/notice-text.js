// One sentence for what happened to an order; urgent where somebody should look up.

import { price, quantity } from "./format.js";

const DONE = {
  new: "is working",
  canceled: "was canceled",
  expired: "expired",
  replaced: "was replaced",
  rejected: "was rejected",
  suspended: "was suspended",
  order_cancel_rejected: "could not be canceled",
};
const TONES = { fill: "good", partial_fill: "good", rejected: "bad", suspended: "bad" };

/** A trade update as {title, detail, tone, urgent}; null for steps that nobody needs told. */
export function tradeNotice(update) {
  const { event, order } = update;
  const tone = TONES[event] ?? "plain";
  if (event === "fill" || event === "partial_fill") return filled(update, tone);
  if (!(event in DONE) || (event === "new" && order.type === "market")) return null;
  return {
    title: `${described(order)} ${DONE[event]}`,
    detail: event === "new" ? "" : (order.reason ?? ""),
    tone,
    urgent: tone === "bad",
  };
}

/**
 * A refusal of the API as a notice: the plain sentence, and the code that programs match. Where no
 * answer came nobody knows that it was one.
 */
export function refusalNotice(error, what) {
  const codes = [error.status, error.code].filter(Boolean).join(" / ");
  return {
    title: error.unanswered ? `${what}: no answer` : `${what} refused`,
    detail: refusal(error) + (codes && ` (${codes})`),
    tone: "bad",
    urgent: true,
  };
}

/** Why a request was refused; of an order that may have arrived all the same (`unknown`) that, too. */
export function refusal(error) {
  const doubt = " Whether it arrived is not known; sending again is safe, it cannot double.";
  return sentence(error.message) + (error.unknown ? doubt : "");
}

/** "Buy 10 AAPL at 187.50": the order in a breath. */
export function described(order) {
  const side = order.side === "buy" ? "Buy" : "Sell";
  const size = order.qty === null ? `$${order.notional} of` : quantity(order.qty);
  const limit = order.limit_price ? ` at ${price(order.limit_price)}` : "";
  return `${side} ${size} ${order.symbol}${limit}`;
}

/** A message with a capital and a full stop. */
export function sentence(text) {
  const trimmed = (text ?? "").trim() || "The server gave no reason";
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

function filled({ event, order, price: at, qty }, tone) {
  const verb = order.side === "buy" ? "Bought" : "Sold";
  const done =
    event === "fill"
      ? "Order complete."
      : `${quantity(order.filled_qty)} of ${quantity(order.qty)} so far.`;
  return {
    title: `${verb} ${quantity(qty)} ${order.symbol} at ${price(at)}`,
    detail: order.qty === null && event === "partial_fill" ? "More to come." : done,
    tone,
    urgent: false,
  };
}
