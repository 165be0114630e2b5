import assert from "node:assert/strict";
import { test } from "node:test";

import { Desk } from "../../trading/static/trading/js/desk.js";

test("a quote that no stream stands for is not live, and neither is one that lost messages", () => {
  const desk = new Desk({ mode: "live", speed: 1 });
  assert.match(desk.staleness("A"), /Connecting/);
  desk.connection = { kind: "live", text: "Live" };
  assert.equal(desk.staleness("A"), null, "there is nothing that could be old");
  desk.ticks.quote("A", { t: "2026-01-05T15:00:00Z", bp: 1, ap: 2 });
  assert.match(desk.staleness("A"), /not live yet/);
  desk.ticks.join("A");
  assert.equal(desk.staleness("A"), null);
  desk.ticks.miss("A");
  assert.match(desk.staleness("A"), /lost/);
});

test("what is said of quotes that are not live counts no seconds", () => {
  const desk = new Desk({ mode: "live", speed: 1 });
  desk.connection = { kind: "reconnecting", word: "Reconnecting", text: "Reconnecting in 18 s" };
  assert.equal(desk.staleness("A"), "Quotes are not live: Reconnecting.");
});

test("a listener that fails is logged, and those after it hear", (context) => {
  const logged = context.mock.method(console, "error", () => {});
  const desk = new Desk({ mode: "live", speed: 1 });
  const heard = [];
  desk.on("portfolio", () => heard.push("before"));
  desk.on("portfolio", () => {
    throw new Error("broken");
  });
  desk.on("portfolio", () => heard.push("after"));

  desk.tell("portfolio");

  assert.deepEqual(heard, ["before", "after"]);
  const [said, error] = logged.mock.calls[0].arguments;
  assert.match(said, /portfolio/);
  assert.equal(error.message, "broken");
});
