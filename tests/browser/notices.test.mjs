import assert from "node:assert/strict";
import { test } from "node:test";

import { Desk } from "../../trading/static/trading/js/desk.js";
import { Notices } from "../../trading/static/trading/js/notices.js";

function notices(t) {
  t.mock.timers.enable({ apis: ["Date"] });
  globalThis.document = { querySelector: () => null };
  t.after(() => delete globalThis.document);
  const notices = new Notices(new Desk({ mode: "live", speed: 1 }));
  const told = [];
  notices.tell = ({ detail }) => told.push(detail);
  return { notices, told };
}

test("of failures that take turns each is told once in half a minute", (t) => {
  const { notices: all, told } = notices(t);
  const fail = () => ["Away", "Late"].forEach((message) => all.trouble({ message, status: 0 }));

  for (let second = 0; second < 30; second += 1) {
    fail();
    t.mock.timers.tick(1_000);
  }
  assert.deepEqual(told, ["Away.", "Late."]);
  fail();

  assert.deepEqual(told, ["Away.", "Late.", "Away.", "Late."]);
});

test("that the page shows another account is said by its dialog, and by no notice", (t) => {
  const { notices: all, told } = notices(t);
  const error = { code: 40910002, status: 409, message: "another account" };

  all.trouble(error);
  all.refused(error, "Order");
  all.refused({ ...error, code: 40910001 }, "Order");

  assert.equal(told.length, 1);
});
