// How numbers read on the screen. Everything takes a number, a decimal string or null.

export const NOTHING = "–";
const MINUS = "−";

const formats = new Map();

/** A price: two decimals, four below one dollar, and up to four where there is a sub-penny. */
export function price(value) {
  const number = numeric(value);
  if (number === null) return NOTHING;
  return decimals(number, Math.abs(number) < 1 && number !== 0 ? 4 : 2, 4);
}

/** A difference of prices: two decimals, and up to four where there is a sub-penny. */
export function step(value) {
  const number = numeric(value);
  return number === null ? NOTHING : decimals(number, 2, 4);
}

/** An amount of USD with cents. */
export function money(value) {
  const number = numeric(value);
  return number === null ? NOTHING : decimals(number, 2, 2);
}

/** A gain or a loss: always with its sign, for colour is never the only one. */
export function signed(value, write = money) {
  const number = numeric(value);
  if (number === null) return NOTHING;
  const text = write(Math.abs(number));
  if (!/[1-9]/.test(text)) return text;
  return (number > 0 ? "+" : MINUS) + text;
}

/** A fraction as a signed percentage: 0.0123 is +1.23%. */
export function percent(fraction) {
  const number = numeric(fraction);
  return number === null ? NOTHING : `${signed(number * 100, (n) => decimals(n, 2, 2))}%`;
}

/** A number of shares, with as many decimals as it has. */
export function quantity(value) {
  const number = numeric(value);
  return number === null ? NOTHING : decimals(number, 0, 9);
}

/** A volume, short: 1.24M. */
export function volume(value) {
  const number = numeric(value);
  if (number === null) return NOTHING;
  return format("compact", { notation: "compact", maximumFractionDigits: 2 }).format(number);
}

/** How old something is, in its largest unit. */
export function age(seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return NOTHING;
  if (seconds < 1) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** A span until something, in its two largest units. */
export function span(seconds) {
  const minutes = Math.max(0, Math.round(seconds / 60));
  if (minutes < 1) return "under a minute";
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** "up", "down" or "flat". */
export function direction(value) {
  const number = numeric(value);
  if (number === null || number === 0) return "flat";
  return number > 0 ? "up" : "down";
}

/** The arrow that says the direction where colour is not seen. */
export function arrow(value) {
  return { up: "▲", down: "▼", flat: "" }[direction(value)];
}

function decimals(number, least, most) {
  const text = format(`${least}-${most}`, {
    minimumFractionDigits: least,
    maximumFractionDigits: most,
  }).format(number);
  return text.replace("-", MINUS);
}

function format(name, options) {
  if (!formats.has(name)) formats.set(name, new Intl.NumberFormat("en-US", options));
  return formats.get(name);
}

function numeric(value) {
  if (value === null || value === undefined || value === "") return null;
  const number = Number(value);
  return Number.isFinite(number) ? number : null;
}
