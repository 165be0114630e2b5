// Changing an order that works: which of its terms may change, and the new order that this makes.

import * as api from "./api.js";
import { parse, plain, ungrouped } from "./decimal.js";
import { element, part, write } from "./dom.js";
import { described } from "./notice-text.js";

const CHANGEABLE = new Set(["new", "partially_filled", "held"]);
const LABELS = {
  qty: "Shares, with what has been filled",
  limit_price: "Limit price",
  stop_price: "Stop price",
  trail: "Trail",
};

export function changeable(order) {
  return CHANGEABLE.has(order.status) && order.qty !== null && Object.keys(terms(order)).length > 0;
}

/** The terms that may change, with what they are now; of legs and their parents prices only. */
export function terms(order) {
  const found = {};
  if (!order.order_class || order.order_class === "simple") found.qty = order.qty;
  if (order.limit_price) found.limit_price = order.limit_price;
  const trail = order.trail_percent ?? order.trail_price;
  if (trail) found.trail = trail;
  else if (order.stop_price) found.stop_price = order.stop_price;
  return found;
}

/** The body of the change: what was typed otherwise. Null where something is no number. */
export function changes(order, typed) {
  const found = {};
  for (const [name, now] of Object.entries(terms(order))) {
    const value = parse(typed[name]);
    if (value === null) return null;
    if (value !== parse(now)) found[name] = plain(value);
  }
  return found;
}

/** Ask for the new terms and send them; a new order then takes the place of this one. */
export async function change(order, { notices, sync }) {
  const typed = await asked(order);
  if (typed === null) return;
  const body = changes(order, typed);
  try {
    if (body === null) throw new api.ApiError(0, { message: "Enter numbers, decimals with a point" });
    if (Object.keys(body).length > 0) await api.patch(`/v2/orders/${order.id}`, body);
  } catch (error) {
    notices.refused(error, `Change of “${described(order)}”`);
  }
  sync.orders();
  sync.portfolio();
}

// What was typed into the dialog; null where it was closed otherwise.
function asked(order) {
  const dialog = part("change");
  const form = part("change-form");
  write(part("change-title"), `Change ${described(order)}`);
  part("change-fields").replaceChildren(...Object.entries(terms(order)).map(field));
  part("change-keep").onclick = () => dialog.close("no");
  dialog.returnValue = "no";
  dialog.showModal();
  form.elements[Object.keys(terms(order))[0]].select();
  return new Promise((resolve) => {
    const answer = () => (dialog.returnValue === "yes" ? typedIn(form) : null);
    dialog.addEventListener("close", () => resolve(answer()), { once: true });
  });
}

function typedIn(form) {
  const inputs = [...form.querySelectorAll("input")];
  return Object.fromEntries(inputs.map(({ name, value }) => [name, ungrouped(value)]));
}

function field([name, now]) {
  const id = `change-${name}`;
  const input = { class: "input input-number", id, name, value: now, inputMode: "decimal" };
  return element(
    "div",
    { class: "field" },
    element("label", { class: "field-label", for: id }, LABELS[name]),
    element("input", { ...input, autocomplete: "off" }),
  );
}
