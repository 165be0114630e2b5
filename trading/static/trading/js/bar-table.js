// The chart as a table, for reading instead of looking; also where the chart library is missing.

import { element, part } from "./dom.js";
import { price, quantity } from "./format.js";
import { day, minute } from "./new-york.js";

const ROWS = 120;
const HEADS = ["Time (ET)", "Open", "High", "Low", "Close", "Volume"];

export function attach(desk) {
  const region = part("bars");
  let told = { bars: [], timeframe: "1Min" };
  let visible = false;

  const show = () => {
    if (visible) region.replaceChildren(table(told, desk.selected));
  };
  desk.on("bars", (news) => {
    told = news;
    show();
  });
  desk.on("bars-moved", ({ bars }) => {
    told.bars = bars;
    if (visible) replaceNewest(region, told);
  });
  desk.on("bars-shown", ({ table: asTable }) => {
    visible = asTable;
    show();
  });
}

function table({ bars, timeframe }, symbol) {
  const heads = HEADS.map((head, at) =>
    element("th", { scope: "col", class: at ? "right" : "" }, head),
  );
  const newestFirst = bars.slice(-ROWS).reverse();
  return element(
    "table",
    { class: "table" },
    element("caption", { class: "hidden" }, `Bars of ${symbol}, newest first`),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...newestFirst.map((bar) => row(bar, timeframe))),
  );
}

// The growing bar is the first row; a new one goes on top and the last falls off.
function replaceNewest(region, { bars, timeframe }) {
  const body = region.querySelector("tbody");
  const bar = bars.at(-1);
  const first = body?.firstElementChild;
  if (!body) return;
  const fresh = row(bar, timeframe);
  if (first?.dataset.time === fresh.dataset.time) first.replaceWith(fresh);
  else body.prepend(fresh);
  while (body.childElementCount > ROWS) body.lastElementChild.remove();
}

function row(bar, timeframe) {
  const at = bar.time * 1000;
  const label = timeframe === "1Day" ? day(at) : `${day(at)} ${minute(at)}`;
  const cells = [bar.open, bar.high, bar.low, bar.close].map(price);
  const numbers = [...cells, quantity(bar.volume)];
  return element(
    "tr",
    { "data-time": String(bar.time) },
    element("th", { scope: "row" }, label),
    ...numbers.map((text) => element("td", { class: "right" }, text)),
  );
}
