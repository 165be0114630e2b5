// Puts the trading screen together: what it knows (desk), what feeds it, and its parts.

import * as account from "./account.js";
import * as anotherAccount from "./another-account.js";
import { showsAccount } from "./api.js";
import * as barTable from "./bar-table.js";
import * as chart from "./chart.js";
import { Connection } from "./connection.js";
import { Desk } from "./desk.js";
import { perFrame } from "./frames.js";
import * as history from "./history.js";
import * as keyboard from "./keyboard.js";
import * as keys from "./keys.js";
import * as marketClock from "./market-clock.js";
import * as menu from "./menu.js";
import { Notices } from "./notices.js";
import * as openOrders from "./open-orders.js";
import * as pageTitle from "./page-title.js";
import * as positions from "./positions.js";
import * as quoteHeader from "./quote-header.js";
import * as search from "./search.js";
import { AccountStream, DataStream, socketAddress } from "./socket.js";
import { Sync } from "./sync.js";
import * as theme from "./theme.js";
import * as ticket from "./ticket.js";
import { taker } from "./trade-updates.js";
import * as views from "./views.js";
import * as watchlist from "./watchlist.js";
import { Watchlists } from "./watchlists.js";

const page = document.body.dataset;
showsAccount(page.shownAccount);
const desk = new Desk({ mode: page.mode, speed: Number(page.speed) });
const notices = new Notices(desk);
const sync = new Sync(desk, (error) => notices.trouble(error));
const watchlists = new Watchlists(desk, notices);
const connection = new Connection(desk, sync);

// Prices are painted together, once a frame; ages move on by themselves once a second.
const paintTicks = perFrame(() => {
  const changed = desk.ticks.take();
  if (changed.size > 0) desk.tell("ticks", changed);
});
setInterval(() => desk.tell("second"), 1_000);

const parts = [
  account, barTable, chart, history, keyboard, keys, marketClock, menu, openOrders, pageTitle,
  positions, quoteHeader, search, theme, ticket, views, watchlist,
];
for (const part of parts) part.attach(desk, { sync, notices, watchlists });

const stream = new DataStream(socketAddress(page.marketStream), desk.ticks, {
  changed: (state) => connection.market(state),
  bar: (bar) => desk.tell("bar", bar),
  trade: (trade) => desk.tell("trade", trade),
  pulse: (pulse) => connection.pulse(pulse),
  missed: () => sync.snapshots(),
  barsMissed: () => desk.tell("bars-missed"),
  amended: (symbol) => {
    desk.tell("amended", symbol);
    sync.snapshotsStored();
  },
  heard: paintTicks,
});
const updates = new AccountStream(socketAddress(page.accountStream), {
  changed: (state) => connection.account(state),
  updated: taker(desk, { notices, sync }),
  doubt: () => {
    sync.orders();
    sync.portfolio();
  },
  pulse: (whole) => connection.updates(whole),
});
const sockets = [stream.socket, updates.socket];
connection.hurries(sockets);
anotherAccount.attach({ sync, sockets });

let subscribed = "";
function subscribe() {
  const shown = [...desk.shown].sort();
  stream.watch(shown, desk.selected);
  const asked = shown.join(",");
  if (asked !== subscribed) sync.snapshots();
  subscribed = asked;
}
for (const topic of ["select", "watchlist", "portfolio", "orders"]) desk.on(topic, subscribe);
desk.on("snapshots", paintTicks);

const wanted = new URLSearchParams(location.search).get("symbol");
desk.on("watchlist", () => desk.select(desk.selected ?? wanted ?? desk.watched[0] ?? null));

await sync.start();
await watchlists.load();
