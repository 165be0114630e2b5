// Positions with live profit and loss, valued as the API values them.

import { arrange, attribute, element, part, write, writeSigned } from "./dom.js";
import { number } from "./decimal.js";
import { arrow, direction, money, percent, price, quantity, signed } from "./format.js";
import { closing } from "./ticket-values.js";
import { mark, valued } from "./valuation.js";

export function attach(desk) {
  const body = part("positions").tBodies[0];
  const rows = new Map();

  desk.on("portfolio", () => {
    const held = desk.positions.map((position) => position.symbol);
    for (const symbol of rows.keys()) if (!held.includes(symbol)) rows.delete(symbol);
    for (const symbol of held) if (!rows.has(symbol)) rows.set(symbol, newRow(symbol, desk));
    arrange(
      body,
      held.map((symbol) => rows.get(symbol).node),
    );
    write(
      part("positions-empty"),
      "No positions. What you buy will be listed here with its profit and loss.",
    );
    attribute(part("positions-empty"), "hidden", held.length > 0);
    write(part("count", "positions"), held.length ? String(held.length) : "");
    held.forEach((symbol) => show(rows.get(symbol), desk));
  });
  desk.on("ticks", (changed) => {
    for (const [symbol, row] of rows) if (changed.has(symbol)) show(row, desk);
  });
}

function newRow(symbol, desk) {
  const names = ["quantity", "entry", "last", "value", "today", "unrealized"];
  const cells = Object.fromEntries(
    names.map((name) => [name, element("td", { class: "right", "data-label": LABELS[name] })]),
  );
  const open = element("button", { class: "row-symbol", type: "button" }, symbol);
  const close = element("button", { class: "button-quiet", type: "button" }, "Close");
  close.setAttribute("aria-label", `Close the position in ${symbol}`);
  open.addEventListener("click", () => {
    desk.select(symbol);
    desk.tell("view", "chart");
  });
  close.addEventListener("click", () => desk.tell("ticket", closing(desk.position(symbol))));
  const exits = element("button", { class: "button-quiet", type: "button" }, "Exits");
  exits.setAttribute("aria-label", `Set a profit target and a stop for the position in ${symbol}`);
  exits.addEventListener("click", () => {
    desk.tell("ticket", { ...closing(desk.position(symbol)), type: "exits" });
  });
  const last = element("td", { class: "right row-actions" }, close, exits);
  const node = element("tr", { "data-symbol": symbol }, element("th", { scope: "row" }, open));
  node.append(...Object.values(cells), last);
  return { symbol, node, cells };
}

const LABELS = {
  quantity: "Quantity",
  entry: "Avg. price",
  last: "Last",
  value: "Value",
  today: "Today",
  unrealized: "Unrealised",
};

function show({ symbol, cells }, desk) {
  const position = desk.position(symbol);
  if (!position) return;
  const now = valued(position, mark(desk.ticks.get(symbol), position));
  write(cells.quantity, quantity(position.qty));
  write(cells.entry, price(position.avg_entry_price));
  write(cells.last, price(now.price === null ? null : number(now.price)));
  write(cells.value, money(number(now.value)));
  gain(cells.today, number(now.today));
  gain(cells.unrealized, number(now.unrealized), now.unrealizedFraction);
}

function gain(cell, amount, fraction = null) {
  const share = fraction === null ? "" : ` (${percent(fraction)})`;
  writeSigned(cell, `${arrow(amount)} ${signed(amount)}${share}`.trim(), direction(amount));
}
