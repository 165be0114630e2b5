import assert from "node:assert/strict";
import { test } from "node:test";

import { showsAccount } from "../../trading/static/trading/js/api.js";
import { Desk } from "../../trading/static/trading/js/desk.js";
import { Sync } from "../../trading/static/trading/js/sync.js";
import { Watchlists } from "../../trading/static/trading/js/watchlists.js";

const ASSETS = [
  { symbol: "A", tradable: true },
  { symbol: "B", tradable: false },
];

/** A desk beside an API that says `answers[path]`, one after the other; an Error is no answer. */
function beside(t, answers) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.mock.method(globalThis, "fetch", async (path) => {
    const answer = answers[path.split("?")[0]].shift();
    if (answer instanceof Error) throw answer;
    return Response.json(answer);
  });
  const desk = new Desk({ mode: "live", speed: 1 });
  const troubles = [];
  const trouble = (error) => troubles.push(error.message);
  return { desk, troubles, trouble };
}

/** Let what is under way come to its end. */
async function until(happened) {
  for (let turn = 0; turn < 1_000 && !happened(); turn += 1) await new Promise(setImmediate);
  assert.ok(happened(), happened.toString());
}

test("what could not be fetched at the start is fetched until it is there", async (t) => {
  const away = new TypeError("away");
  const { desk, troubles, trouble } = beside(t, { "/v2/assets": [away, away, ASSETS] });
  const sync = new Sync(desk, trouble);

  await sync.assets();
  t.mock.timers.tick(1_000);
  await until(() => troubles.length === 2);
  t.mock.timers.tick(1_000);
  await until(() => desk.assets.size === 2);

  const fetched = fetch.mock.callCount();
  t.mock.timers.tick(60_000);
  assert.equal(fetch.mock.callCount(), fetched, "it is asked for no more");
});

test("a page of another account asks once, is told nothing by it, and asks no more", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  t.after(() => delete globalThis.document);
  t.after(() => showsAccount(null));
  const refusal = { code: 40910002, message: "this page shows another account" };
  t.mock.method(globalThis, "fetch", async () => Response.json(refusal, { status: 409 }));
  const desk = new Desk({ mode: "live", speed: 1 });
  const sync = new Sync(desk, assert.fail);
  globalThis.document = { dispatchEvent: () => sync.stop() };

  await sync.start();
  const asked = fetch.mock.callCount();
  const clock = t.mock.method(sync, "loadClock");
  t.mock.timers.tick(300_000);
  await sync.clock();

  assert.deepEqual([fetch.mock.callCount(), clock.mock.callCount()], [asked, 1]);
});

test("a market that has nothing yet is asked again", async (t) => {
  const { desk, troubles, trouble } = beside(t, { "/v2/assets": [[], ASSETS] });

  await new Sync(desk, trouble).assets();
  assert.deepEqual(troubles, ["What is traded here is not known yet"]);
  t.mock.timers.tick(1_000);
  await until(() => desk.assets.size === 2);
});

test("a list of assets does not take back a halt that the stream told", async (t) => {
  const { desk, trouble } = beside(t, { "/v2/assets": [ASSETS] });
  desk.ticks.standing("A", { halted: true });
  desk.ticks.join("A");

  await new Sync(desk, trouble).assets();

  assert.deepEqual([desk.ticks.get("A").halted, desk.ticks.get("B").halted], [true, true]);
});

test("an order that is accepted while the lists are fetched stays open", async (t) => {
  const { desk, trouble } = beside(t, { "/v2/orders": [[], []] });

  const fetched = new Sync(desk, trouble).orders();
  desk.orders.put([{ id: "a", status: "accepted", symbol: "A", submitted_at: "2026-01-05" }]);
  await fetched;

  assert.deepEqual(desk.orders.open.map(({ id }) => id), ["a"]);
});

test("each new day of the market is told once", async (t) => {
  const at = (timestamp) => ({ timestamp, is_open: true, next_open: null, next_close: null });
  const clocks = ["2026-01-05T23:59:50-05:00", "2026-01-05T23:59:59-05:00", "2026-01-06T00:00:00-05:00"];
  const hours = [[{ date: "2026-01-05" }], []];
  const { desk, trouble } = beside(t, {
    "/v2/clock": clocks.map(at), "/api/market": [{}, {}, {}], "/v2/calendar": hours,
  });
  const days = [];
  desk.on("day", () => days.push(new Date(desk.market.base.market).toISOString()));
  const sync = new Sync(desk, trouble);

  for (const _ of clocks) await sync.clock();

  assert.deepEqual(days, ["2026-01-06T04:59:50.000Z", "2026-01-06T05:00:00.000Z"]);
});

test("changes of the watchlist are sent one after the other, and the last answer is shown", async (t) => {
  const { desk } = beside(t, {});
  const list = (...symbols) => ({ id: "w", assets: symbols.map((symbol) => ({ symbol })) });
  const sent = [];
  t.mock.method(globalThis, "fetch", (path) => {
    return new Promise((resolve) => sent.push({ path, answer: (body) => resolve(Response.json(body)) }));
  });
  globalThis.document = { querySelector: () => ({ value: "token" }) };
  t.after(() => delete globalThis.document);
  const watchlists = new Watchlists(desk, { refused: assert.fail });
  watchlists.show(list("A", "B", "C"));

  watchlists.remove("A");
  const last = watchlists.remove("B");
  await until(() => sent.length > 0);
  assert.deepEqual(sent.map(({ path }) => path), ["/v2/watchlists/w/A"]);
  sent[0].answer(list("B", "C"));
  await until(() => sent.length > 1);
  sent[1].answer(list("C"));
  await last;
  assert.deepEqual(desk.watched, ["C"]);
});

test("a watchlist that could not be loaded is not changed, and is loaded later", async (t) => {
  const lists = [new TypeError("away"), [{ id: "w" }]];
  const list = { id: "w", assets: [{ symbol: "B" }] };
  const { desk, troubles, trouble } = beside(t, {
    "/v2/watchlists": lists,
    "/v2/watchlists/w": [list],
  });
  const watchlists = new Watchlists(desk, { trouble, refused: trouble });
  desk.assets = new Map([["A", {}]]);

  await watchlists.load();
  await watchlists.add("B");
  assert.deepEqual(troubles, ["Openbell cannot be reached", "The watchlist is not loaded yet"]);
  assert.deepEqual(desk.watched, ["A"]);

  t.mock.timers.tick(1_000);
  await until(() => desk.watched[0] === "B");
});
