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
