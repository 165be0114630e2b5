// The chart panel: candles where the chart library could be fetched, a table of bars otherwise.

import { ChartData } from "./chart-data.js";
import { isStep, TIMEFRAMES } from "./candles.js";
import { attribute, element, part, write } from "./dom.js";
import { perFrame } from "./frames.js";

export function attach(desk) {
  const stage = { message: part("chart-message"), canvas: part("canvas"), table: part("bars") };
  const switcher = part("chart-table");
  let candles = null;
  let asTable = false;
  let bars = null;
  let drawn = [];
  let shown = "";

  // No frame is drawn while the page is hidden: several bars may have come since the last one.
  const moved = perFrame(() => {
    if (!bars?.length) return;
    say("");
    if (!isStep(drawn, bars)) return tell();
    drawn = bars;
    desk.tell("bars-moved", { bars });
  });
  const data = new ChartData(desk, {
    replaced: (list) => {
      const what = `${desk.selected} ${data.timeframe}`;
      bars = list;
      say(list === null ? "Loading bars…" : list.length ? "" : "No bars in this span yet.");
      // What is loaded again stays in view meanwhile, what is loaded instead of it does not.
      if (list !== null || what !== shown) tell();
      shown = what;
    },
    moved: () => {
      bars = data.bars;
      moved();
    },
    failed: (error) => say(`No bars: ${error.message}.`),
  });

  function tell() {
    drawn = bars ?? [];
    desk.tell("bars", { bars: drawn, timeframe: data.timeframe });
  }

  function say(text) {
    write(stage.message, text);
    attribute(stage.message, "hidden", text === "");
  }

  function show() {
    const table = asTable || candles === null;
    stage.canvas.hidden = table;
    stage.table.hidden = !table;
    switcher.hidden = candles === null;
    switcher.setAttribute("aria-pressed", table);
    desk.tell("bars-shown", { table });
  }

  switcher.addEventListener("click", () => {
    asTable = !asTable;
    show();
  });
  timeframes(data);
  show();

  // The library is fetched at set-up and may be missing: then the table stands in its place.
  import("./candle-chart.js")
    .then((module) => {
      candles = module.draw(desk, stage.canvas);
      tell();
    })
    .catch(() => attribute(part("chart-credit"), "hidden", true))
    .finally(show);
}

function timeframes(data) {
  const group = part("timeframes");
  for (const [timeframe, { label, name }] of Object.entries(TIMEFRAMES)) {
    const input = element("input", { type: "radio", name: "timeframe", value: timeframe });
    input.checked = timeframe === data.timeframe;
    input.addEventListener("change", () => data.show(timeframe));
    const text = element("span", { title: name }, label);
    group.append(element("label", { class: "segment" }, input, text));
  }
}
