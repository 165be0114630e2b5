// Canceling: one order, or all of them after a question.

import * as api from "./api.js";
import { confirmed } from "./confirm.js";
import { described } from "./notice-text.js";

/** Ask to cancel one order, and say whether that was heard; the end of it is a trade update. */
export async function cancel(order, { notices, sync }) {
  let heard = true;
  try {
    await api.remove(`/v2/orders/${order.id}`);
  } catch (error) {
    heard = false;
    notices.refused(error, `Cancel of “${described(order)}”`);
  }
  sync.orders();
  sync.portfolio();
  return heard;
}

/** Cancel every open order, if the person says so. */
export async function cancelAll(desk, { notices, sync }) {
  const count = desk.orders.open.length;
  if (count === 0) return notices.tell({ title: "No open orders to cancel", tone: "plain" });
  const orders = count === 1 ? "1 open order" : `${count} open orders`;
  const sure = await confirmed({
    title: `Cancel ${orders}?`,
    text: "Whatever of them is not filled yet is given up.",
    yes: `Cancel ${orders}`,
    no: count === 1 ? "Keep it" : "Keep them",
  });
  if (!sure) return;
  try {
    for (const { status, body } of await api.remove("/v2/orders")) {
      if (status === 403) notices.refused({ status, ...body }, "Cancel of one of them");
    }
  } catch (error) {
    notices.refused(error, "Cancel of all orders");
  }
  sync.orders();
  sync.portfolio();
}
