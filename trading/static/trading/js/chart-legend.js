// The numbers of the bar under the pointer, or of the newest one.

import { part, write } from "./dom.js";
import { percent, price, volume as shortVolume } from "./format.js";

/** A function to tell the newest bar to; follows the crosshair by itself. */
export function legend(chart, candles, volume) {
  const line = part("legend");
  let newest = null;
  let pointed = null;

  const show = () => {
    const bar = pointed ?? newest;
    write(line, bar ? described(bar) : "");
    line.dataset.direction = bar && bar.close < bar.open ? "down" : "up";
  };
  chart.subscribeCrosshairMove(({ seriesData }) => {
    const bar = seriesData.get(candles);
    pointed = bar ? { ...bar, volume: seriesData.get(volume)?.value ?? null } : null;
    show();
  });
  return (bar) => {
    newest = bar ?? null;
    if (newest === null) pointed = null;
    show();
  };
}

function described({ open, high, low, close, volume }) {
  const change = open ? percent((close - open) / open) : "";
  const prices = `O ${price(open)}  H ${price(high)}  L ${price(low)}  C ${price(close)}`;
  return `${prices}  ${change}  V ${shortVolume(volume)}`;
}
