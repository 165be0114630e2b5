// Finished orders: what became of them, and why.

import { attribute, element, part } from "./dom.js";
import { price, quantity } from "./format.js";
import { KeyedRows } from "./keyed-rows.js";
import { day, when } from "./new-york.js";
import { tagged } from "./open-orders.js";

const STATUS = {
  filled: "Filled",
  canceled: "Canceled",
  expired: "Expired",
  replaced: "Replaced",
  rejected: "Rejected",
};

export function attach(desk) {
  const rows = new KeyedRows(part("history").tBodies[0]);
  const show = () => {
    const finished = desk.orders.finished;
    const now = desk.market.now(Date.now());
    rows.show(finished, (order) => row(order, now), now && day(now));
    attribute(part("history-empty"), "hidden", finished.length > 0);
  };
  for (const topic of ["orders", "day"]) desk.on(topic, show);
}

function row(order, now) {
  const status = element("td", { "data-label": "Status" }, STATUS[order.status] ?? order.status);
  if (order.reason) status.append(element("span", { class: "cell-sub" }, order.reason));
  const size = order.qty === null ? "" : ` / ${quantity(order.qty)}`;
  return element(
    "tr",
    { "data-order": order.id, "data-status": order.status },
    element("th", { scope: "row" }, tagged(order)),
    element("td", { class: "right", "data-label": "Filled" }, quantity(order.filled_qty) + size),
    element("td", { class: "right", "data-label": "Avg. price" }, price(order.filled_avg_price)),
    status,
    element("td", { class: "right", "data-label": "Finished" }, finished(order, now)),
  );
}

function finished(order, now) {
  const at = Date.parse(
    order.filled_at ?? order.canceled_at ?? order.expired_at ?? order.failed_at ?? order.updated_at,
  );
  return when(at, now);
}
