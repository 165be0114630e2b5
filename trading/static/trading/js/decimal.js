// Exact decimals, so that a number on the screen is the API's number to the last digit.
// An amount is a BigInt of billionths; null stands for "not known" and goes through everything.

export const PLACES = 9;
const UNIT = 10n ** BigInt(PLACES);
const GROUPED = /^\d{1,3}(,\d{3})+(\.\d*)?$/;
const WRITTEN = /^([+-]?)(\d*)\.?(\d*)$/;

/** The amount that a JSON string or number writes; null where it writes none. */
export function parse(written) {
  if (written === null || written === undefined || written === "") return null;
  const text = typeof written === "number" ? numeral(written) : String(written).trim();
  const [whole, sign, integer, fraction] = WRITTEN.exec(text) ?? [];
  if (whole === undefined || integer + fraction === "" || fraction.length > PLACES) return null;
  const units = BigInt(integer || "0") * UNIT + BigInt(fraction.padEnd(PLACES, "0"));
  return sign === "-" ? -units : units;
}

/** What was typed, without commas where they group thousands; any other comma stays, and is no number. */
export function ungrouped(typed) {
  const text = typed.trim();
  return GROUPED.test(text) ? text.replaceAll(",", "") : text;
}

/** a × b, rounded half-even to `places` decimals: the one rounding, as the ledger's. */
export function product(a, b, places = 4) {
  if (a === null || b === null) return null;
  return rounded(a * b, 2 * PLACES, places);
}

/** The amount rounded half-even to `places` decimals. */
export function round(units, places) {
  return units === null ? null : rounded(units, PLACES, places);
}

/** The same amount as a plain number, for drawing and for comparing shares of a whole. */
export function number(units) {
  return units === null ? null : Number(units) / Number(UNIT);
}

/** Plain notation without exponent or trailing zeros, as the trading API writes it. */
export function plain(units) {
  const digits = magnitude(units)
    .toString()
    .padStart(PLACES + 1, "0");
  const integer = digits.slice(0, -PLACES);
  const fraction = digits.slice(-PLACES).replace(/0+$/, "");
  return (units < 0n ? "-" : "") + (fraction ? `${integer}.${fraction}` : integer);
}

/** Notation with exactly `places` decimals, rounded half-even. */
export function fixed(units, places) {
  const step = 10n ** BigInt(PLACES - places);
  const scaled = rounded(units, PLACES, places) / step;
  const digits = magnitude(scaled)
    .toString()
    .padStart(places + 1, "0");
  const sign = scaled < 0n ? "-" : "";
  if (places === 0) return sign + digits;
  return `${sign}${digits.slice(0, -places)}.${digits.slice(-places)}`;
}

function rounded(units, from, places) {
  const step = 10n ** BigInt(from - places);
  const size = magnitude(units);
  let steps = size / step;
  const rest = size % step;
  if (rest * 2n > step || (rest * 2n === step && steps % 2n === 1n)) steps += 1n;
  const result = steps * 10n ** BigInt(PLACES - places);
  return units < 0n ? -result : result;
}

function magnitude(units) {
  return units < 0n ? -units : units;
}

function numeral(value) {
  const text = String(value);
  return text.includes("e") ? value.toFixed(PLACES) : text;
}
