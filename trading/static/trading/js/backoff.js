// How long to wait before connecting again: exponential, with full jitter, so that a thousand
// screens that lost one server do not come back in the same second.

export const FIRST_MS = 500;
export const LONGEST_MS = 20_000;

/** A wait for the n-th attempt (from 0), anywhere between a quarter second and its bound. */
export function delay(attempt, random = Math.random) {
  const bound = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round(Math.max(250, random() * bound));
}
