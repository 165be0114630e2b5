// The chart in the colours of the page's own tokens, whichever theme is on.

/** The tokens as colours that a canvas understands. */
export function chartColors() {
  const probe = document.createElement("span");
  document.body.append(probe);
  const read = (token) => {
    probe.style.color = `var(${token})`;
    return plainColor(getComputedStyle(probe).color);
  };
  const colors = {
    surface: read("--surface-1"),
    text: read("--text-2"),
    grid: read("--chart-grid"),
    line: read("--line"),
    accent: read("--accent"),
    cursor: read("--text-3"),
    up: read("--candle-up"),
    down: read("--candle-down"),
    upFaint: read("--candle-up-faint"),
    downFaint: read("--candle-down-faint"),
  };
  probe.remove();
  return colors;
}

/** Options of createChart in these colours. */
export function chartOptions(colors) {
  return {
    autoSize: true,
    layout: {
      background: { color: colors.surface },
      textColor: colors.text,
      fontFamily: getComputedStyle(document.body).fontFamily,
      fontSize: 11,
      attributionLogo: false, // the link under the chart says it, in words
    },
    grid: { vertLines: { color: colors.grid }, horzLines: { color: colors.grid } },
    rightPriceScale: { borderColor: colors.line },
    timeScale: { borderColor: colors.line, rightOffset: 4, secondsVisible: false },
    crosshair: {
      vertLine: { color: colors.cursor, labelBackgroundColor: colors.cursor },
      horzLine: { color: colors.cursor, labelBackgroundColor: colors.cursor },
    },
  };
}

// Browsers may answer in a notation that the library's own parser does not know.
function plainColor(color) {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
  return `rgba(${red}, ${green}, ${blue}, ${(alpha / 255).toFixed(3)})`;
}
