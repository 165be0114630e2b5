// Quick ways to fill the ticket: bid and ask, sizes, and whether the size is in dollars.

import { parse } from "./decimal.js";
import { element, part } from "./dom.js";
import { limitAt, sizes } from "./ticket-values.js";

export function attachShortcuts(desk, ticket) {
  part("amount-by").addEventListener("click", () => {
    const by = ticket.order.by === "shares" ? "dollars" : "shares";
    ticket.fill({ by, amount: "", timeInForce: "day" });
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

function chips(desk, ticket) {
  const offered = sizes(ticket.order, parse(desk.position(desk.selected)?.qty_available));
  const box = part("amount-chips");
  const wanted = JSON.stringify(offered);
  if (box.dataset.sizes === wanted) return;
  box.dataset.sizes = wanted;
  box.replaceChildren(
    ...offered.map(([label, amount]) => {
      const chip = element("button", { class: "chip", type: "button" }, label);
      chip.addEventListener("click", () => ticket.fill({ amount }));
      return chip;
    }),
  );
}

// The limit price that is chosen; nothing where the quote has none.
function limit(desk, which) {
  const price = limitAt(desk.ticks.get(desk.selected), which);
  return price === null ? {} : { limitPrice: price };
}
