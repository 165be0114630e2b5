// The title says symbol, price and environment, so that no tab is taken for another.

import { arrow, price } from "./format.js";
import { change } from "./ticks.js";

export function attach(desk) {
  const { environment } = document.body.dataset;
  const stale = (symbol) => (desk.staleness(symbol) === null ? "" : " (stale)");
  desk.on("second", () => {
    const row = desk.selected ? desk.ticks.get(desk.selected) : null;
    const what = row?.last
      ? `${row.symbol} ${price(row.last)} ${arrow(change(row).amount)}`.trim() + stale(row.symbol)
      : "";
    document.title = [what, environment, "Openbell"].filter(Boolean).join(" · ");
  });
}
