// Draws candles and volume with lightweight-charts, in New York time, with what one owns in them.

import {
  CandlestickSeries,
  createChart,
  createSeriesMarkers,
  CrosshairMode,
  HistogramSeries,
} from "lightweight-charts";
import { legend } from "./chart-legend.js";
import { fillMarkers, ownLines } from "./chart-marks.js";
import { chartColors, chartOptions } from "./chart-style.js";
import { wallSeconds } from "./new-york.js";

const SHOWN_BARS = 110;

/** Draw into `canvas` whatever bars the desk tells of, until the page ends. */
export function draw(desk, canvas) {
  let colors = chartColors();
  const chart = createChart(canvas, {
    ...chartOptions(colors),
    crosshair: { mode: CrosshairMode.Normal },
  });
  const candles = chart.addSeries(CandlestickSeries);
  const volume = chart.addSeries(HistogramSeries, {
    priceScaleId: "volume",
    priceFormat: { type: "volume" },
    lastValueVisible: false,
    priceLineVisible: false,
  });
  chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
  chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.08, bottom: 0.2 } });
  const markers = createSeriesMarkers(candles, []);
  const lines = ownLines(candles, desk);
  const tell = legend(chart, candles, volume);
  let shown = { bars: [], timeframe: "1Min" };

  const atTime = (bar) => ({ ...bar, time: wallSeconds(bar.time) });
  const volumeOf = (bar) => ({
    time: wallSeconds(bar.time),
    value: bar.volume,
    color: bar.close >= bar.open ? colors.upFaint : colors.downFaint,
  });

  function restyle() {
    colors = chartColors();
    chart.applyOptions(chartOptions(colors));
    candles.applyOptions({
      upColor: colors.up,
      downColor: colors.down,
      borderVisible: false,
      wickUpColor: colors.up,
      wickDownColor: colors.down,
    });
    lines(colors);
    mark();
  }

  function mark() {
    markers.setMarkers(fillMarkers(desk, shown, colors));
  }

  function replace({ bars, timeframe }) {
    const same = timeframe === shown.timeframe && desk.selected === shown.symbol;
    const another = !same || shown.bars.length === 0;
    shown = { bars, timeframe, symbol: desk.selected };
    chart.timeScale().applyOptions({ timeVisible: timeframe !== "1Day" });
    candles.setData(bars.map(atTime));
    volume.setData(bars.map(volumeOf));
    if (another) {
      chart
        .timeScale()
        .setVisibleLogicalRange({ from: bars.length - SHOWN_BARS, to: bars.length + 4 });
    }
    restyle();
    tell(bars.at(-1));
  }

  desk.on("bars", replace);
  desk.on("bars-moved", ({ bars }) => {
    shown.bars = bars;
    candles.update(atTime(bars.at(-1)));
    volume.update(volumeOf(bars.at(-1)));
    tell(bars.at(-1));
  });
  for (const topic of ["portfolio", "orders"]) desk.on(topic, () => (lines(colors), mark()));
  desk.on("theme", restyle);
  restyle();
  return chart;
}
