// What one owns, in the chart: fills as arrows, average price and open limits as lines.

import { bucket } from "./candles.js";
import { quantity } from "./format.js";
import { day, wallSeconds } from "./new-york.js";

// A limit farther from the last price than this would only crowd the edge of the chart.
const FAR = 0.1;

/** Markers of the account's finished executions within the bars shown, oldest first. */
export function fillMarkers(desk, { bars, timeframe }, colors) {
  if (bars.length === 0) return [];
  const starts = new Map(bars.map((bar) => [key(bar.time, timeframe), bar.time]));
  return desk.orders.finished
    .filter(
      (order) => order.symbol === desk.selected && order.filled_at && Number(order.filled_qty),
    )
    .map((order) => ({ order, at: Math.floor(Date.parse(order.filled_at) / 1000) }))
    .filter(({ at }) => starts.has(key(bucket(timeframe, at) ?? at, timeframe)))
    .sort((a, b) => a.at - b.at)
    .map(({ order, at }) =>
      marker(order, starts.get(key(bucket(timeframe, at) ?? at, timeframe)), colors),
    );
}

/** A function that redraws the lines of the selected symbol in these colours. */
export function ownLines(series, desk) {
  let drawn = [];
  return (colors) => {
    drawn.forEach((line) => series.removePriceLine(line));
    drawn = wanted(desk, colors).map((options) => series.createPriceLine(options));
  };
}

function wanted(desk, colors) {
  const last = desk.ticks.get(desk.selected).last;
  const lines = desk.orders.open
    .filter((order) => order.symbol === desk.selected && order.limit_price)
    .filter((order) => Math.abs(order.limit_price / last - 1) < FAR)
    .map((order) => ({
      price: Number(order.limit_price),
      color: order.side === "buy" ? colors.up : colors.down,
      lineWidth: 1,
      lineStyle: 2,
      title: `${order.side} ${order.qty === null ? "" : quantity(order.qty)}`.trim(),
    }));
  const position = desk.position(desk.selected);
  if (!position) return lines;
  const price = Number(position.avg_entry_price);
  return [{ price, color: colors.accent, lineWidth: 1, lineStyle: 0, title: "avg" }, ...lines];
}

function marker(order, start, colors) {
  const buy = order.side === "buy";
  return {
    time: wallSeconds(start),
    position: buy ? "belowBar" : "aboveBar",
    shape: buy ? "arrowUp" : "arrowDown",
    color: buy ? colors.up : colors.down,
    text: quantity(order.filled_qty),
  };
}

// Daily bars are found by their date in New York, all others by their start.
function key(epochSeconds, timeframe) {
  return timeframe === "1Day" ? day(epochSeconds * 1000) : epochSeconds;
}
