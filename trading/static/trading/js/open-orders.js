// Orders that still work: what they wait for, and how to end them.

import { attribute, element, part, write } from "./dom.js";
import { price, quantity } from "./format.js";
import { day, when } from "./new-york.js";
import { described } from "./notice-text.js";
import { cancel, cancelAll } from "./order-actions.js";
import { change, changeable } from "./order-changes.js";
import { cancelable, purpose, reason } from "./orders.js";
import { KeyedRows } from "./keyed-rows.js";

const STATUS = {
  accepted: "Accepted",
  new: "Working",
  partially_filled: "Partly filled",
  held: "Held",
  suspended: "Suspended",
};
const NOT_CANCELED = {
  title: "The order under focus cannot be canceled now",
  detail: "Nothing was canceled. Esc, then c cancels the newest open order.",
  tone: "plain",
};

export function attach(desk, { notices, sync }) {
  const table = part("open-orders");
  const rows = new KeyedRows(table.tBodies[0]);
  const all = part("cancel-all");

  const show = () => {
    const open = desk.orders.arranged;
    const now = desk.market.now(Date.now());
    rows.show(open, (order) => row(order, desk, now, { notices, sync }), now && day(now));
    write(part("open-orders-empty"), "No open orders.");
    attribute(part("open-orders-empty"), "hidden", open.length > 0);
    write(part("count", "orders"), open.length ? String(open.length) : "");
    attribute(all, "hidden", open.length === 0);
  };
  for (const topic of ["orders", "day"]) desk.on(topic, show);
  desk.on("second", () => {
    for (const order of desk.orders.open) {
      const cell = part("why", order.id, table);
      if (cell) write(cell, why(order, desk));
    }
  });
  all.addEventListener("click", () => cancelAll(desk, { notices, sync }));
  desk.on("cancel-all", () => cancelAll(desk, { notices, sync }));
  desk.on("cancel", () => {
    const focused = table.contains(document.activeElement);
    const order = meant(desk.orders.open.filter(cancelable), focused);
    if (order) cancel(order, { notices, sync });
    else if (focused) notices.tell(NOT_CANCELED);
  });
}

// The order under focus; the newest only where none was chosen, also where the chosen one is over.
function meant(open, focused) {
  if (!focused) return open[0];
  const row = document.activeElement.closest("[data-order]");
  return open.find(({ id }) => id === row?.dataset.order);
}

function row(order, desk, now, tools) {
  const button = element("button", { class: "button-quiet", type: "button" }, "Cancel");
  button.setAttribute("aria-label", `Cancel: ${described(order)}`);
  button.disabled = !cancelable(order);
  button.addEventListener("click", async () => {
    if (document.activeElement === button) button.closest("tr").focus(); // disabled, it has none
    button.disabled = true;
    button.disabled = await cancel(order, tools);
  });
  const other = element("button", { class: "button-quiet", type: "button" }, "Change");
  other.setAttribute("aria-label", `Change: ${described(order)}`);
  other.disabled = !changeable(order);
  other.addEventListener("click", () => change(order, tools));
  const status = element(
    "td",
    { "data-label": "Status" },
    element("span", {}, STATUS[order.status] ?? order.status),
    element("span", { class: "cell-sub", "data-why": order.id }, why(order, desk)),
  );
  return element(
    "tr",
    { "data-order": order.id, tabindex: "-1" },
    element("th", { scope: "row", class: order.parent ? "row-leg" : "" }, tagged(order)),
    element("td", { class: "right", "data-label": "Filled" }, filled(order)),
    element("td", { class: "right", "data-label": "Price" }, pricing(order)),
    element("td", { "data-label": "Until" }, order.time_in_force.toUpperCase()),
    status,
    element("td", { class: "right", "data-label": "Sent" }, sent(order, now)),
    element("td", { class: "right row-actions" }, button, other),
  );
}

/** "BUY 10 AAPL", the side as a coloured tag. */
export function tagged(order) {
  const size = order.qty === null ? `$${order.notional}` : quantity(order.qty);
  return element(
    "span",
    { class: "row-order" },
    element(
      "span",
      { class: "tag", "data-side": order.side },
      order.side === "buy" ? "Buy" : "Sell",
    ),
    ` ${size} `,
    element("strong", {}, order.symbol),
    purpose(order) ? element("span", { class: "cell-sub" }, purpose(order)) : null,
  );
}

// The prices it is made of: "Market", "99.50", "Stop 95.00", "Stop 95.00, limit 94.50".
function pricing(order) {
  const limit = order.limit_price ? price(order.limit_price) : null;
  if (!order.stop_price) return limit ?? "Market";
  const trail = order.trail_percent ? `${order.trail_percent} % trail, stop` : "Stop";
  return `${trail} ${price(order.stop_price)}${limit ? `, limit ${limit}` : ""}`;
}

function sent(order, now) {
  return when(Date.parse(order.submitted_at), now);
}

function why(order, desk) {
  return reason(order, desk.ticks.get(order.symbol), desk.market.open);
}

function filled(order) {
  return order.qty === null
    ? quantity(order.filled_qty)
    : `${quantity(order.filled_qty)} / ${quantity(order.qty)}`;
}
