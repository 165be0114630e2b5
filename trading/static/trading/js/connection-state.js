// What the states of both streams and of the feed come to, in a few words.

import { age } from "./format.js";

// The venue's own bound: a feed that says nothing for this long is silent, and nothing fills on it.
export const FEED_SILENT_MS = 5_000;

/**
 * Both streams, the account's updates and the feed as one, {kind, text, shown?}; only kind "live"
 * is to trade on, and it is said of nothing that is not known. `lost`: there was a connection, or an
 * attempt at one, before.
 */
export function judged({ market, account, updates, feed, lost = false }, now, clock) {
  const closed = [market, account].some(({ name }) => name === "closed");
  if (closed) return { kind: "stale", text: "Closed" };
  const waiting = [market, account].find(({ name }) => name === "waiting");
  if (waiting) return { kind: "reconnecting", text: again(waiting, now) };
  const mute = [market, account].find(({ name }) => name === "silent");
  if (mute) return { kind: "stale", text: `Stale for ${age((now - mute.since) / 1000)}` };
  if (feed.name === "silent") {
    return { kind: "stale", text: `Feed silent for ${age(feed.quietMs / 1000)}` };
  }
  if ([updates, feed].some(({ name }) => name === "behind")) {
    return { kind: "stale", text: "Catching up" };
  }
  if ([market, account, updates, feed].every(({ name }) => name === "open")) return live(clock);
  if (lost) return { kind: "reconnecting", text: "Reconnecting" };
  return { kind: "connecting", text: "Connecting" };
}

function again({ until, why }, now) {
  const left = Math.max(0, (until - now) / 1000);
  const soon = left < 1 ? "" : ` in ${age(left)}`;
  return why ? `Closed (${why}), again${soon || " now"}` : `Reconnecting${soon}`;
}

function live({ mode, speed, paused }) {
  if (mode === "stepped") return { kind: "live", text: "Stepped", shown: "replay" };
  if (mode === "simulated") return { kind: "live", text: "Simulated", shown: "simulated" };
  if (mode !== "replay") return { kind: "live", text: "Live" };
  if (paused) return { kind: "live", text: "Replay paused", shown: "paused" };
  return { kind: "live", text: `Replay ×${speed}`, shown: "replay" };
}
