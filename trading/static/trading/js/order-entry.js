// Sends an order so that it exists once, whatever the network does.

import { get, post } from "./api.js";

/** An id that makes a repeat harmless; made when a ticket opens, kept until its order exists. */
export function newClientOrderId() {
  if (globalThis.crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // a page served without TLS
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Place an order. Where no clear answer came, ask whether it arrived: returns the order if it
 * did, else raises the first error, with `unknown` set when nobody could say.
 */
export async function place(request) {
  try {
    return await post("/v2/orders", request);
  } catch (error) {
    const repeated = error.status === 422 && /client_order_id/.test(error.message);
    if (error.status !== 0 && error.status < 500 && !repeated) throw error;
    return await arrived(request.client_order_id, error);
  }
}

async function arrived(clientOrderId, error) {
  try {
    return await get("/v2/orders:by_client_order_id", { client_order_id: clientOrderId });
  } catch (lookup) {
    error.unknown = lookup.status !== 404;
    throw error;
  }
}
