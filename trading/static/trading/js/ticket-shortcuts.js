// Quick ways to fill the ticket: bid and ask, sizes, and whether the size is in dollars.

import { element, part, write } from "./dom.js";
import { number, parse } from "./decimal.js";

const SHARES = ["10", "50", "100"];
const PARTS = [
  ["25%", 0.25],
  ["50%", 0.5],
  ["All", 1],
];
const DOLLARS = ["100", "1000", "5000"];

export function attachShortcuts(desk, ticket) {
  const by = part("amount-by");
  by.addEventListener("click", () => {
    const dollars = ticket.order.by === "shares";
    write(part("amount-label"), dollars ? "Dollars" : "Shares");
    write(by, dollars ? "Use shares" : "Use dollars");
    ticket.fill({ by: dollars ? "dollars" : "shares", amount: "", timeInForce: "day" });
    chips(desk, ticket);
  });
  for (const side of ["bid", "ask"]) {
    part("touch-side", side).addEventListener("click", () => {
      ticket.fill({ type: "limit", side: side === "bid" ? "sell" : "buy", ...limit(desk, side) });
      chips(desk, ticket);
    });
  }
  part("limit-chips").addEventListener("click", (event) => {
    const { limit: which } = event.target.dataset;
    if (which) ticket.fill(limit(desk, which));
  });
  ticket.form.addEventListener("change", () => chips(desk, ticket));
  for (const topic of ["select", "portfolio", "ticket"]) desk.on(topic, () => chips(desk, ticket));
  chips(desk, ticket);
}

// The chips that fit: parts of what is held for a sale, round sizes otherwise.
function chips(desk, ticket) {
  const { side, by } = ticket.order;
  const held = Number(desk.position(desk.selected)?.qty_available ?? 0);
  const selling = side === "sell" && held > 0 && by === "shares";
  const sizes = selling
    ? PARTS.map(([text, part]) => [text, partOf(held, part)])
    : (by === "dollars" ? DOLLARS : SHARES).map((size) => [
        by === "dollars" ? `$${size}` : size,
        size,
      ]);
  const box = part("amount-chips");
  const wanted = JSON.stringify(sizes);
  if (box.dataset.sizes === wanted) return;
  box.dataset.sizes = wanted;
  box.replaceChildren(
    ...sizes.map(([text, amount]) => {
      const chip = element("button", { class: "chip", type: "button" }, text);
      chip.addEventListener("click", () => ticket.fill({ amount }));
      return chip;
    }),
  );
}

function partOf(held, part) {
  if (part === 1) return String(held);
  return String(Number.isInteger(held) ? Math.max(1, Math.floor(held * part)) : held * part);
}

// The quote's bid, ask or middle as a limit price that the tick size allows.
function limit(desk, which) {
  const { bid, ask } = desk.ticks.get(desk.selected);
  const middle = bid && ask ? (bid + ask) / 2 : null;
  const at = { bid, ask, mid: middle }[which];
  return at ? { limitPrice: number(parse(at)).toFixed(at >= 1 ? 2 : 4) } : {};
}
