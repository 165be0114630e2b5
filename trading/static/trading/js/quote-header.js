// The charted symbol's own numbers above the chart.

import { attribute, part, write, writeSigned } from "./dom.js";
import { age, arrow, direction, percent, price, signed, step, volume } from "./format.js";
import { change, newest } from "./ticks.js";

export function attach(desk) {
  const at = (name) => part("quote", name);

  const show = () => {
    const symbol = desk.selected;
    if (!symbol) return;
    const row = desk.ticks.get(symbol);
    const { amount, fraction } = change(row);
    const moved = `${arrow(amount)} ${signed(amount, step)} (${percent(fraction)})`.trim();
    write(at("symbol"), symbol);
    write(at("name"), desk.assets.get(symbol)?.name ?? "");
    write(at("last"), price(row.last));
    writeSigned(at("change"), amount === null ? "" : moved, direction(amount));
    write(at("open"), price(row.day?.o));
    write(at("high"), price(widest(Math.max, row.day?.h, row.last)));
    write(at("low"), price(widest(Math.min, row.day?.l, row.last)));
    write(at("previous"), price(row.previousClose));
    write(at("volume"), volume(row.day?.v));
    attribute(at("halt"), "hidden", !row.halted);
    showAge();
  };

  const showAge = () => {
    if (!desk.selected) return;
    const seen = newest(desk.ticks.get(desk.selected));
    const now = desk.market.now(Date.now());
    const old = seen === null || now === null ? null : Math.max(0, (now - seen) / 1000);
    const stale = desk.staleness(desk.selected) !== null;
    write(at("age"), stale ? `stale ${age(old)}` : age(old));
    attribute(part("view-part", "chart"), "data-stale", stale);
  };

  for (const topic of ["select", "assets"]) desk.on(topic, show);
  desk.on("ticks", (changed) => changed.has(desk.selected) && show());
  for (const topic of ["second", "connection"]) desk.on(topic, showAge);
}

// The day's range, widened by a trade that the last daily bar has not seen.
function widest(choose, ofDay, last) {
  if (ofDay === undefined) return null;
  return last === null ? ofDay : choose(ofDay, last);
}
