// What the states of both streams and of the feed come to, in a few words.

import { age } from "./format.js";

// The venue's own bound: a feed that says nothing for this long is silent, and nothing fills on it.
export const FEED_SILENT_MS = 5_000;

/** Both streams and the feed as one, {kind, text, shown?}; only kind "live" is to trade on. */
export function judged({ market, account, feed }, now, clock) {
  const worst = [market, account].find(({ name }) => name === "waiting") ?? market;
  if (worst.name === "waiting") {
    const left = Math.max(0, (worst.until - now) / 1000);
    return {
      kind: "reconnecting",
      text: left < 1 ? "Reconnecting" : `Reconnecting in ${age(left)}`,
    };
  }
  const mute = [market, account].find(({ name }) => name === "silent");
  if (mute) return { kind: "stale", text: `Stale for ${age((now - mute.since) / 1000)}` };
  if (feed.name === "silent") {
    return { kind: "stale", text: `Feed silent for ${age(feed.quietMs / 1000)}` };
  }
  if (feed.name === "behind") return { kind: "stale", text: "Catching up" };
  if ([market.name, account.name].includes("connecting")) {
    return { kind: "connecting", text: "Connecting" };
  }
  return live(clock);
}

function live({ mode, speed, paused }) {
  if (mode === "stepped") return { kind: "live", text: "Stepped", shown: "replay" };
  if (mode === "simulated") return { kind: "live", text: "Simulated", shown: "simulated" };
  if (mode !== "replay") return { kind: "live", text: "Live" };
  if (paused) return { kind: "live", text: "Replay paused", shown: "paused" };
  return { kind: "live", text: `Replay ×${speed}`, shown: "replay" };
}
