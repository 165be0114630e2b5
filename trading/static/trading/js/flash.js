// A price that moved lights up briefly, at most four times a second, with an arrow that stays. Where
// very many move at once only some light up: nobody sees more, and each costs work in every frame.

import { direction } from "./format.js";

export const LEAST_MS = 250;
// About seventy are alight at once then, for each lasts 450 ms.
export const MOST_AT_ONCE = 15;
const AT_ONCE_MS = 100;
const still = globalThis.matchMedia?.("(prefers-reduced-motion: reduce)");

/** Lets one flash through per cell and `LEAST_MS`. */
export class Throttle {
  constructor(leastMs = LEAST_MS) {
    this.leastMs = leastMs;
    this.last = -Infinity;
  }

  passes(now) {
    if (now - this.last < this.leastMs) return false;
    this.last = now;
    return true;
  }
}

/** Lets so many through per span of time, whichever cells they are of. */
export class Allowance {
  constructor(most = MOST_AT_ONCE, spanMs = AT_ONCE_MS) {
    Object.assign(this, { most, spanMs, since: -Infinity, passed: 0 });
  }

  passes(now) {
    if (now - this.since >= this.spanMs) Object.assign(this, { since: now, passed: 0 });
    this.passed += 1;
    return this.passed <= this.most;
  }
}

const allowance = new Allowance();

/** Flash a cell in the direction its number moved; a reader who asked for calm sees none. */
export function flash(cell, before, after, now) {
  const moved = before === null || after === null ? "flat" : direction(after - before);
  if (moved === "flat") return;
  cell.dataset.tick = moved;
  cell.flashes ??= new Throttle();
  if (still?.matches || !cell.flashes.passes(now) || !allowance.passes(now)) return;
  light(cell, moved);
}

/** Light a cell up in the colour of a direction, and let it fade. */
export function light(cell, moved) {
  return cell.animate?.(
    [{ backgroundColor: `var(--flash-${moved})` }, { backgroundColor: "transparent" }],
    { duration: 450, easing: "ease-out" },
  );
}
