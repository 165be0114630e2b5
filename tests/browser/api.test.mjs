import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { ApiError, get, patch, post, remove, showsAccount } from "../../trading/static/trading/js/api.js";

let asked, answer, told, tokens;

beforeEach(() => {
  [asked, told, tokens] = [[], [], []];
  showsAccount("a");
  answer = () => Response.json({});
  globalThis.document = {
    querySelector: () => ({ value: "token" }),
    dispatchEvent: ({ type }) => told.push(type),
  };
  globalThis.fetch = async (path, { headers }) => {
    asked.push(headers["Openbell-Account"]);
    tokens.push(headers["X-CSRFToken"]);
    return answer();
  };
});

test("each request says which account the page shows", async () => {
  for (const request of [get, remove]) await request("/v2/orders");
  for (const request of [post, patch]) await request("/v2/orders", {});
  assert.deepEqual(asked, ["a", "a", "a", "a"]);
});

test("what changes something carries the token of the newest log-in, else the page's own", async () => {
  await post("/v2/orders", {});
  for (const cookie of ["theme=dark; csrftoken=first", "csrftoken=second; notcsrftoken=x"]) {
    document.cookie = cookie;
    await remove("/v2/orders");
  }
  await get("/v2/orders");
  assert.deepEqual(tokens, ["token", "first", "second", undefined]);
});

test("a request that was meant for another account is refused, and the page is told", async () => {
  const body = { code: 40910002, message: "this page shows another account" };
  answer = () => Response.json(body, { status: 409 });
  const error = await post("/v2/orders", {}).then(assert.fail, (error) => error);
  assert.ok(error instanceof ApiError);
  assert.deepEqual([error.status, error.message], [409, body.message]);
  assert.deepEqual(told, ["openbell:another-account"]);
});

test("nothing is sent once a request was meant for another account, and that is told once", async () => {
  answer = () => Response.json({ code: 40910002, message: "another" }, { status: 409 });
  const underWay = [get("/v2/clock"), get("/v2/account")];
  for (const request of underWay) await assert.rejects(request, { code: 40910002 });
  for (const request of [get, remove, post, patch]) {
    await assert.rejects(request("/v2/orders", {}), { code: 40910002 });
  }
  assert.deepEqual([asked.length, told], [2, ["openbell:another-account"]]);
});

test("other refusals leave the page where it is", async () => {
  answer = () => Response.json({ code: 40910001, message: "lost" }, { status: 409 });
  await assert.rejects(post("/v2/orders", {}));
  assert.deepEqual(told, []);
});
