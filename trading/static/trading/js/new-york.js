// Exchange time. The market lives in New York, wherever the person sits.

const ZONE = "America/New_York";
const parts = new Intl.DateTimeFormat("en-US", {
  timeZone: ZONE,
  hourCycle: "h23",
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const longDate = new Intl.DateTimeFormat("en-GB", {
  timeZone: ZONE,
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
});
const offsets = new Map();

/** "09:30:05" */
export function time(milliseconds) {
  const { hour, minute, second } = fields(milliseconds);
  return `${hour}:${minute}:${second}`;
}

/** "09:30" */
export function minute(milliseconds) {
  return time(milliseconds).slice(0, 5);
}

/** "2013-10-07", the date in New York. */
export function day(milliseconds) {
  const { year, month, day: date } = fields(milliseconds);
  return `${year}-${month}-${date}`;
}

/** "Mon, 7 Oct 2013" */
export function date(milliseconds) {
  return longDate.format(milliseconds);
}

/** "09:30:05"; where it is not on the date of `now`, or now is not known: "2013-10-07 09:30". */
export function when(milliseconds, now) {
  const on = day(milliseconds);
  const today = now !== null && on === day(now);
  return today ? time(milliseconds) : `${on} ${minute(milliseconds)}`;
}

/**
 * Seconds that read as New York wall time when taken for UTC: what a chart without time zones
 * is to be given. The offset is looked up once an hour of market time.
 */
export function wallSeconds(epochSeconds) {
  const hour = Math.floor(epochSeconds / 3600);
  if (!offsets.has(hour)) offsets.set(hour, offset(hour * 3_600_000));
  return epochSeconds + offsets.get(hour);
}

function offset(milliseconds) {
  const { year, month, day: date, hour, minute: minutes, second } = fields(milliseconds);
  return (Date.UTC(year, month - 1, date, hour, minutes, second) - milliseconds) / 1000;
}

function fields(milliseconds) {
  return Object.fromEntries(parts.formatToParts(milliseconds).map((p) => [p.type, p.value]));
}
