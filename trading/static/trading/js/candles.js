// Bars of a chart: the stored ones, and the one that is still growing.

import { day } from "./new-york.js";

/** Each timeframe: its width in seconds (null: a New York day) and how far a chart looks back. */
export const TIMEFRAMES = {
  "1Min": { seconds: 60, lookbackDays: 5, label: "1m", name: "one minute" },
  "5Min": { seconds: 300, lookbackDays: 14, label: "5m", name: "five minutes" },
  "1Hour": { seconds: 3600, lookbackDays: 60, label: "1h", name: "one hour" },
  "1Day": { seconds: null, lookbackDays: 500, label: "1D", name: "one day" },
};
export const MOST_BARS = 600;

/** Whether no trade is left in a bar of the wire: it stands for one that is no more. */
export function isWithdrawn(bar) {
  return bar.v === 0 && bar.n === 0;
}

/** A bar of the wire as the chart keeps it; `time` in epoch seconds, start of the interval. */
export function candle(bar) {
  return {
    time: Math.floor(Date.parse(bar.t) / 1000),
    open: bar.o,
    high: bar.h,
    low: bar.l,
    close: bar.c,
    volume: bar.v,
  };
}

/** The start of the interval an instant belongs to; null where only the server can say (days). */
export function bucket(timeframe, epochSeconds) {
  const { seconds } = TIMEFRAMES[timeframe];
  return seconds === null ? null : epochSeconds - (epochSeconds % seconds);
}

/**
 * The growing bar after one trade: the last bar widened, or a new one behind it.
 * A trade older than the last bar changes nothing, the server's own bar will bring it, and so it is
 * with one of another day than the last day's bar; one that sets no price only counts as volume.
 */
export function grown(last, timeframe, trade) {
  const at = Math.floor(Date.parse(trade.t) / 1000);
  const start = bucket(timeframe, at) ?? dayOf(last, at);
  if (start === null || (last && start < last.time)) return last;
  const { p, s } = trade;
  if (trade.sets_price === false) return last && { ...last, volume: last.volume + s };
  if (!last || start > last.time) {
    return { time: start, open: p, high: p, low: p, close: p, volume: s };
  }
  return {
    ...last,
    high: Math.max(last.high, p),
    low: Math.min(last.low, p),
    close: p,
    volume: last.volume + s,
  };
}

// The start of that day's bar, if the instant is of its New York date.
function dayOf(bar, at) {
  return bar && day(bar.time * 1000) === day(at * 1000) ? bar.time : null;
}

/**
 * Bars that were fetched anew, with what the shown ones had of trades that were not stored yet.
 * Where a minute of a bar was corrected (`corrected`: starts of such bars) the stored one is right.
 */
export function caughtUp(stored, shown, corrected) {
  const since = stored.at(-1)?.time ?? -Infinity;
  const ahead = shown.filter(({ time }) => time >= since && !corrected.has(time));
  return ahead.reduce((bars, bar) => placed(bars, widened(bars.at(-1), bar)), stored);
}

function widened(stored, bar) {
  if (stored?.time !== bar.time) return bar;
  return {
    ...bar,
    open: stored.open,
    high: Math.max(stored.high, bar.high),
    low: Math.min(stored.low, bar.low),
    volume: Math.max(stored.volume, bar.volume),
  };
}

/** Whether only the newest bar differs from those that were drawn: it grew, or it is the next. */
export function isStep(drawn, bars) {
  const before = drawn.at(-1);
  return bars.at(-1)?.time === before?.time || bars.at(-2) === before;
}

/** Bars with one put in by its start: replaced, or appended behind the last. */
export function placed(bars, bar) {
  const at = bars.findLastIndex((other) => other.time <= bar.time);
  if (at >= 0 && bars[at].time === bar.time) return bars.with(at, bar);
  return [...bars.slice(0, at + 1), bar, ...bars.slice(at + 1)].slice(-MOST_BARS);
}
