// The account's figures: stated by the API, moved on with the prices of what is held.

import { attribute, part, write, writeSigned } from "./dom.js";
import { number } from "./decimal.js";
import { arrow, direction, money, percent, signed } from "./format.js";
import { day, minute } from "./new-york.js";
import { accountNow, mark, valued } from "./valuation.js";

export function attach(desk) {
  const at = (name) => part("figure", name);

  const show = () => {
    if (desk.account === null) return;
    const now = accountNow(
      desk.account,
      desk.positions.map((held) => valued(held, mark(desk.ticks.get(held.symbol), held))),
    );
    write(at("equity"), money(number(now.equity)));
    write(at("holdings"), money(number(now.holdings)));
    write(at("cash"), money(number(now.cash)));
    write(at("buying-power"), money(number(now.buyingPower)));
    const due = desk.account.margin_call_due_at;
    attribute(part("margin-call"), "hidden", !due);
    if (due) write(at("margin-call"), `due ${day(Date.parse(due))} ${minute(Date.parse(due))}`);
    const profit = number(now.dayProfit);
    writeSigned(at("day"), `${arrow(profit)} ${signed(profit)}`.trim(), direction(profit));
    writeSigned(
      at("day-percent"),
      now.dayFraction === null ? "" : percent(now.dayFraction),
      direction(profit),
    );
  };

  desk.on("portfolio", show);
  desk.on("ticks", (changed) => {
    if (desk.positions?.some(({ symbol }) => changed.has(symbol))) show();
  });
  desk.on("connection", ({ now }) => {
    attribute(part("account"), "data-stale", now.kind !== "live" && now.kind !== "connecting");
  });
}
