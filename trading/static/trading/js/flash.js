// A price that moved lights up briefly, at most four times a second, with an arrow that stays.

import { direction } from "./format.js";

export const LEAST_MS = 250;
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

/** Flash a cell in the direction its number moved; a reader who asked for calm sees none. */
export function flash(cell, before, after, now) {
  const moved = before === null || after === null ? "flat" : direction(after - before);
  if (moved === "flat") return;
  cell.dataset.tick = moved;
  cell.flashes ??= new Throttle();
  if (still?.matches || !cell.flashes.passes(now)) return;
  cell.animate?.(
    [{ backgroundColor: `var(--flash-${moved})` }, { backgroundColor: "transparent" }],
    { duration: 450, easing: "ease-out" },
  );
}
