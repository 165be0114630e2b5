import assert from "node:assert/strict";
import { test } from "node:test";

import { Desk } from "../../trading/static/trading/js/desk.js";

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
