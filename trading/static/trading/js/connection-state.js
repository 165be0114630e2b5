// What the states of both streams and of the feed come to, in a few words.

import { age } from "./format.js";

// The venue's own bound: a feed that says nothing for this long is silent, and nothing fills on it.
export const FEED_SILENT_MS = 5_000;

/**
 * Both streams, the account's updates and the feed as one, {kind, text, word?, shown?}; only kind
 * "live" is to trade on, and it is said of nothing that is not known. `word` is the text without the
 * seconds that it counts, where it does. `lost`: there was a connection, or an attempt at one, before.
 */
export function judged({ market, account, updates, feed, lost = false }, now, clock) {
  const closed = [market, account].some(({ name }) => name === "closed");
  if (closed) return { kind: "stale", text: "Closed" };
  const waiting = [market, account].find(({ name }) => name === "waiting");
  if (waiting) return { kind: "reconnecting", ...again(waiting, now) };
  const mute = [market, account].find(({ name }) => name === "silent");
  if (mute) return { kind: "stale", ...lasting("Stale", now - mute.since) };
  if (feed.name === "silent") return { kind: "stale", ...lasting("Feed silent", feed.quietMs) };
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
  if (!why) return { word: "Reconnecting", text: `Reconnecting${soon}` };
  const word = `Closed (${why})`;
  return { word, text: `${word}, again${soon || " now"}` };
}

function lasting(word, forMs) {
  return { word, text: `${word} for ${age(forMs / 1000)}` };
}

function live({ mode, speed, paused }) {
  if (mode === "stepped") return { kind: "live", text: "Stepped", shown: "replay" };
  if (mode === "simulated") return { kind: "live", text: "Simulated", shown: "simulated" };
  if (mode !== "replay") return { kind: "live", text: "Live" };
  if (paused) return { kind: "live", text: "Replay paused", shown: "paused" };
  return { kind: "live", text: `Replay ×${speed}`, shown: "replay" };
}
