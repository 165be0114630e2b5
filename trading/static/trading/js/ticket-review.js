// The step between an order and its sending: what exactly will be sent, once more in words.

import { post } from "./api.js";
import { disable, element, part, write } from "./dom.js";
import { number, plain } from "./decimal.js";
import { money, price, quantity } from "./format.js";
import { refusal, sentence } from "./notice-text.js";
import { newClientOrderId, place } from "./order-entry.js";
import { isExits, takesExits } from "./ticket-prices.js";
import { body, covers, sellsShort } from "./ticket-rules.js";

const SETTLE_MS = 300; // a key that bounces must not confirm what nobody read

const UNTIL = {
  day: "Day, until today's close",
  gtc: "Until canceled",
  ioc: "At once, the rest is canceled",
};

export class Review {
  constructor(desk, ticket, { notices, sync }) {
    Object.assign(this, { desk, ticket, notices, sync });
    this.panel = part("review");
    this.send = part("review-send");
    this.problem = part("review-problem");
    this.send.addEventListener("click", (event) => {
      const byKey = event.detail === 0;
      if (!byKey || performance.now() - this.openedAt > SETTLE_MS) this.place();
    });
    part("review-back").addEventListener("click", () => this.back());
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // the page's own Escape would leave the field that this goes back to
      this.back();
    });
    for (const topic of ["ticks", "connection", "portfolio"]) desk.on(topic, () => this.show());
  }

  /** Show the review, or send at once where the person chose to do without. */
  open(oneClick) {
    if (oneClick) return this.place();
    this.swap(true);
    this.panel.focus();
    this.openedAt = performance.now();
    this.ask();
    this.show();
  }

  close() {
    this.swap(false);
  }

  back() {
    this.close();
    this.ticket.form.elements.amount.focus();
  }

  swap(reviewing) {
    if (!reviewing && this.panel.contains(document.activeElement)) this.ticket.panel.focus();
    this.panel.hidden = !reviewing;
    this.ticket.form.hidden = reviewing;
    write(this.problem, this.ticket.said);
  }

  show() {
    if (this.panel.hidden || this.sending) return;
    const { order, state } = this.ticket;
    const verb = order.side === "buy" ? "Buy" : "Sell";
    const size =
      order.by === "dollars" ? `${money(order.amount)} dollars of` : quantity(order.amount);
    write(part("review-title"), `${verb} ${size} ${order.symbol}`);
    const rows = lines(order, state, this.desk, this.preview);
    part("review-lines").replaceChildren(...rows.map(line));
    write(this.send, `Place ${verb.toLowerCase()} order`);
    const refused = this.preview?.refusal;
    const expected = refused ? sentence(refused.message) : "";
    write(this.problem, this.ticket.told(state.obstacle?.text) || expected);
    disable(this.send, state.obstacle !== null, this.panel);
    if (document.activeElement === this.panel) this.send.focus(); // it can be pressed, or stays put
  }

  /** Ask the server what it would make of the order: what it holds, its fees, what is left. */
  async ask() {
    const question = (this.question = {});
    this.preview = null;
    try {
      const preview = await post(
        "/v2/orders/preview",
        body(this.ticket.order, this.ticket.clientOrderId),
      );
      if (this.question === question) this.preview = preview;
    } catch {
      return; // the order itself will tell
    }
    this.show();
  }

  /** Send it, once: the button is dead until an answer is there, and the id makes repeats safe. */
  async place() {
    if (this.sending) return;
    this.sending = true;
    this.ticket.said = "";
    disable(this.send, true, this.panel);
    disable(this.ticket.submit, true, this.ticket.panel);
    try {
      const order = await place(body(this.ticket.order, this.ticket.clientOrderId));
      this.accepted(order);
    } catch (error) {
      this.refused(error);
    } finally {
      this.sending = false;
      this.ticket.show();
      this.show();
    }
  }

  accepted(order) {
    this.desk.orders.put([order]);
    this.desk.tell("orders");
    this.sync.portfolioSoon();
    this.ticket.renew();
  }

  refused(error) {
    this.notices.refused(error, "Order");
    this.ticket.said = refusal(error);
    this.openedAt = performance.now(); // nor must it send again what nobody has read the refusal of
    if (error.unknown) this.sync.orders();
    if (error.earlier) this.tellEarlier(error.earlier);
  }

  // The id of the ticket stands for that order: what is sent next needs one of its own.
  tellEarlier(order) {
    this.desk.orders.put([order]);
    this.desk.tell("orders");
    this.ticket.clientOrderId = newClientOrderId();
  }
}

function lines(order, { estimated, quote }, desk, preview) {
  const touch = order.side === "buy" ? quote?.ask : quote?.bid;
  const rows = [
    ["Type", kind(order)],
    ["Until", UNTIL[order.timeInForce]],
    [order.side === "buy" ? "Ask now" : "Bid now", price(touch)],
    [order.side === "buy" ? "Estimated cost" : "Estimated proceeds", money(number(estimated.value))],
  ];
  const exits = takesExits(order) || isExits(order);
  if (exits && order.takeProfit) rows.push(["Take profit", price(order.takeProfit)]);
  if (exits && order.stopLoss) rows.push(["Stop loss", price(order.stopLoss)]);
  if (order.by === "dollars" && estimated.shares !== null) {
    rows.push(["About", `${quantity(plain(estimated.shares))} shares`]);
  }
  const position = desk.position(order.symbol);
  const short = sellsShort(order, position);
  if (Number(preview?.fees) > 0) rows.push(["Fees, about", money(preview.fees)]);
  if (preview?.initial_margin && Number(preview.initial_margin) > 0) {
    rows.push(["Held for it", money(preview.initial_margin)]);
  }
  if (order.side === "buy" || short) {
    const left = preview ? money(preview.buying_power_after) : money(number(estimated.left));
    rows.push(["Buying power after", left]);
  }
  if (short) rows.push(["Mind", "You hold none: this opens a short position"]);
  if (covers(order, position)) rows.push(["Mind", "This buys back what you sold short"]);
  return rows;
}

function kind(order) {
  const limit = price(order.limitPrice);
  const stop = price(order.stopPrice);
  return {
    market: "Market",
    limit: `Limit at ${limit}`,
    stop: `Stop at ${stop}`,
    stop_limit: `Stop at ${stop}, limit ${limit}`,
    exits: "Two exits, one cancels the other",
    trailing_stop: `Trailing stop, ${order.trail} % behind`,
  }[order.type];
}

function line([name, text]) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, text));
}
