import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { place } from "../../trading/static/trading/js/order-entry.js";

const REQUEST = {
  symbol: "AAPL", side: "buy", type: "limit", time_in_force: "day", qty: "10", limit_price: "1.5",
  client_order_id: "one",
};

/** The API behind a line that can lose what is sent, or what is answered. */
class Line {
  orders = new Map();
  losing = { requests: false, answers: false };
  breaksOff = false;

  fetch = async (path, { method, body }) => {
    if (method === "POST" && this.losing.requests) throw new TypeError("Failed to fetch");
    const answer = method === "POST" ? this.make(JSON.parse(body)) : this.find(path);
    if (method === "POST" && this.losing.answers) throw new TypeError("Failed to fetch");
    return method === "POST" && this.breaksOff ? brokenOff() : answer;
  };

  make(request) {
    const id = request.client_order_id;
    const taken = { code: 40010001, message: "client_order_id must be unique" };
    if (this.orders.has(id)) return Response.json(taken, { status: 422 });
    const order = { notional: null, order_class: "simple", ...request, limit_price: "1.50" };
    this.orders.set(id, order);
    return Response.json(order);
  }

  find(path) {
    const id = new URL(path, "http://here").searchParams.get("client_order_id");
    const order = this.orders.get(id);
    return order ? Response.json(order) : Response.json({ message: "none" }, { status: 404 });
  }
}

function brokenOff() {
  const head = (controller) => controller.enqueue(new TextEncoder().encode('{"sym'));
  const tail = (controller) => controller.error(new TypeError("network error"));
  return new Response(new ReadableStream({ start: head, pull: tail }));
}

let line;

beforeEach(() => {
  line = new Line();
  globalThis.document = { querySelector: () => ({ value: "token" }) };
  globalThis.fetch = line.fetch;
});

const failure = (request) => place(request).then(assert.fail, (error) => error);

test("an order whose answer was lost is found, and is made once", async () => {
  line.losing.answers = true;
  assert.equal((await place(REQUEST)).qty, "10");
  line.losing.answers = false;
  line.breaksOff = true;
  assert.equal((await place({ ...REQUEST, client_order_id: "two" })).qty, "10");
  assert.equal(line.orders.size, 2);
});

test("an order that got no answer and is not there may still be on its way", async () => {
  line.losing.requests = true;
  const error = await failure(REQUEST);
  assert.deepEqual([error.unknown, error.unanswered], [true, true]);
  line.losing.requests = false;
  assert.equal((await place(REQUEST)).symbol, "AAPL");
});

test("a ticket that was changed after its order arrived is not told that the change was taken", async () => {
  await place(REQUEST);
  const others = [
    { qty: "12" },
    { side: "sell" },
    { type: "market" },
    { symbol: "MSFT" },
    { limit_price: "1.6" },
    { order_class: "oto", stop_loss: { stop_price: "1" } },
  ];
  for (const change of others) {
    const error = await failure({ ...REQUEST, ...change });
    assert.equal(error.earlier?.qty, "10", JSON.stringify(change));
    assert.match(error.message, /Buy 10 AAPL at 1.50\. What the ticket says now was not sent/);
  }
  assert.equal((await place({ ...REQUEST, limit_price: "1.500" })).qty, "10");
});

test("exits that were changed after their order arrived are not taken for the first", async () => {
  const bracket = {
    ...REQUEST, order_class: "bracket", take_profit: { limit_price: "3" }, stop_loss: { stop_price: "1" },
  };
  await place(bracket);
  line.orders.get("one").legs = [{ limit_price: "3.00" }, { stop_price: "1.00", limit_price: null }];
  assert.equal((await place(bracket)).qty, "10");
  assert.ok((await failure({ ...bracket, stop_loss: { stop_price: "0.9" } })).earlier);
  assert.ok((await failure({ ...bracket, take_profit: { limit_price: "4" } })).earlier);
});
