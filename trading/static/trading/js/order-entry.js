// Sends an order so that it exists once, whatever the network does.

import { ApiError, get, post } from "./api.js";
import { parse } from "./decimal.js";
import { described } from "./notice-text.js";

const TERMS = ["symbol", "side", "type", "time_in_force"];
const AMOUNTS = ["qty", "notional", "limit_price", "stop_price", "trail_percent"];

/** An id that makes a repeat harmless; made when a ticket opens, kept until its order exists. */
export function newClientOrderId() {
  if (globalThis.crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // a page served without TLS
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Place an order. Where no clear answer came, ask whether it arrived: returns the order if it
 * did, else raises the first error, with `unknown` set when nobody could say. Where another order
 * had been made under this id, the error has it as `earlier`: this one was not made.
 */
export async function place(request) {
  try {
    return await post("/v2/orders", request);
  } catch (error) {
    const repeated = error.status === 422 && /client_order_id/.test(error.message);
    if (error.status !== 0 && error.status < 500 && !repeated) throw error;
    return theSame(await arrived(request.client_order_id, error), request);
  }
}

async function arrived(clientOrderId, error) {
  try {
    const query = { client_order_id: clientOrderId, nested: true };
    return await get("/v2/orders:by_client_order_id", query);
  } catch (lookup) {
    // A request that was not answered may be on its way still.
    error.unknown = lookup.status !== 404 || Boolean(error.unanswered);
    throw error;
  }
}

// The order, if it is what was asked for now: a ticket that was changed after its order had arrived
// asks for another one, and its id stands for the first.
function theSame(order, request) {
  const terms = TERMS.every((name) => order[name] === request[name]);
  const amounts = AMOUNTS.every((name) => !(name in request) || equal(order[name], request[name]));
  if (terms && amounts && exitsAgree(order, request)) return order;
  const before = `An order of this ticket had arrived before: ${described(order)}`;
  const error = new ApiError(0, { message: `${before}. What the ticket says now was not sent` });
  throw Object.assign(error, { earlier: order });
}

function exitsAgree({ order_class: kind, legs, ...parent }, request) {
  if ((kind || "simple") !== (request.order_class ?? "simple")) return false;
  const orders = [parent, ...(legs ?? [])];
  const { take_profit: profit, stop_loss: loss } = request;
  return (
    !legs ||
    ((!profit || orders.some((each) => equal(each.limit_price, profit.limit_price))) &&
      (!loss || orders.some((each) => equal(each.stop_price, loss.stop_price))))
  );
}

function equal(one, other) {
  return parse(one) === parse(other);
}
