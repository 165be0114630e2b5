// Market time, the session, and when it turns.

import { part, write } from "./dom.js";
import { span } from "./format.js";
import { date, day, minute, time } from "./new-york.js";

const SESSIONS = {
  pre: "Pre-market",
  regular: "Open",
  after: "After hours",
  closed: "Closed",
};

export function attach(desk, { sync }) {
  const now = part("clock-now");
  const on = part("clock-date");
  const session = part("clock-session");

  const show = () => {
    const at = desk.market.now(Date.now());
    if (at === null) return;
    write(now, time(at));
    write(on, date(at));
    write(session, described(desk.market, at));
    session.dataset.open = desk.market.open;
  };
  desk.on("second", () => {
    show();
    if (desk.market.turn?.at <= desk.market.now(Date.now())) sync.clock();
  });
  desk.on("clock", show);
}

/** "Open · closes 16:00", in its last hour "Open · closes in 17 min": market time, as the clock's. */
export function described(market, now) {
  const { turn } = market;
  const state = SESSIONS[market.sessionAt(now)];
  if (turn === null || !Number.isFinite(turn.at)) return state;
  const left = (turn.at - now) / 1000;
  const verb = turn.opens ? "opens" : "closes";
  const far = day(turn.at) === day(now) ? minute(turn.at) : `in ${span(left)}`;
  return `${state} · ${verb} ${left < 3600 ? `in ${span(left)}` : far}`;
}
