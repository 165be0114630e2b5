// One watched instrument: latest trade, quote, change since the previous close, and their age.

import { attribute, element, icon, write, writeSigned } from "./dom.js";
import { flash } from "./flash.js";
import { age, arrow, direction, percent, price, quantity, signed, step } from "./format.js";
import { change, newest } from "./ticks.js";

export class WatchRow {
  constructor(symbol, desk, watchlists) {
    this.symbol = symbol;
    this.desk = desk;
    this.shown = { last: null, bid: null, ask: null };
    this.build(watchlists);
    this.select();
  }

  build(watchlists) {
    const cell = () => [
      element("span", { class: "cell-main" }),
      element("span", { class: "cell-sub" }),
    ];
    [this.last, this.aged] = cell();
    [this.changed, this.percent] = cell();
    [this.bid, this.bidSize] = cell();
    [this.ask, this.askSize] = cell();
    this.named = element("span", { class: "cell-sub watch-name" });
    this.button = element(
      "button",
      { class: "watch-symbol", type: "button" },
      element("span", { class: "cell-main" }, this.symbol),
      this.named,
    );
    this.name();
    const remove = element(
      "button",
      { class: "icon-button", type: "button", "aria-label": `Remove ${this.symbol}` },
      icon("close"),
    );
    this.node = element(
      "tr",
      { "data-symbol": this.symbol },
      element("th", { scope: "row" }, this.button),
      element("td", { class: "right" }, this.last, this.aged),
      element("td", { class: "right" }, this.changed, this.percent),
      element("td", { class: "right" }, this.bid, this.bidSize),
      element("td", { class: "right" }, this.ask, this.askSize),
      element("td", { class: "watch-remove-cell" }, remove),
    );
    remove.addEventListener("click", () => watchlists.remove(this.symbol));
    this.node.addEventListener("click", (event) => {
      if (!remove.contains(event.target)) this.choose();
    });
  }

  /** The company's name, once the assets are known. */
  name() {
    const name = this.desk.assets.get(this.symbol)?.name ?? "";
    write(this.named, name);
    attribute(this.button, "title", name);
  }

  choose() {
    this.desk.select(this.symbol);
    this.desk.tell("view", "chart");
  }

  show() {
    const row = this.desk.ticks.get(this.symbol);
    const now = performance.now();
    for (const name of ["last", "bid", "ask"]) {
      write(this[name], price(row[name]));
      flash(this[name], this.shown[name], row[name], now);
      this.shown[name] = row[name];
    }
    write(this.bidSize, row.bid === null ? "" : quantity(row.bidSize));
    write(this.askSize, row.ask === null ? "" : quantity(row.askSize));
    const { amount, fraction } = change(row);
    writeSigned(this.changed, `${arrow(amount)} ${signed(amount, step)}`.trim(), direction(amount));
    writeSigned(this.percent, percent(fraction), direction(amount));
    this.age();
  }

  /** How old the newest of it is; grey where it cannot be trusted. */
  age() {
    const row = this.desk.ticks.get(this.symbol);
    const at = newest(row);
    const market = this.desk.market.now(Date.now());
    const old = at === null || market === null ? null : Math.max(0, (market - at) / 1000);
    const stale = this.desk.staleness(this.symbol) !== null;
    attribute(this.node, "data-stale", stale);
    const word = row.halted
      ? "halted"
      : row.missed
        ? "gap"
        : stale
          ? `stale ${age(old)}`
          : age(old);
    write(this.aged, word);
  }

  select() {
    attribute(this.button, "aria-current", this.desk.selected === this.symbol);
    this.node.toggleAttribute("data-selected", this.desk.selected === this.symbol);
  }
}
