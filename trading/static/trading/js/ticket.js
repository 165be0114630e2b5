// The order ticket: what is typed, what it would cost, and why it cannot be sent just now.

import { attribute, disable, part, write } from "./dom.js";
import { number, parse, ungrouped } from "./decimal.js";
import { money, quantity } from "./format.js";
import { newClientOrderId } from "./order-entry.js";
import { attachShortcuts } from "./ticket-shortcuts.js";
import { Review } from "./ticket-review.js";
import { has, isExits, takesExits } from "./ticket-prices.js";
import { blankOrder, blocked, estimate, obstacle, sellsShort } from "./ticket-rules.js";
import { showTouch } from "./touch.js";

const ONE_CLICK = "openbell:one-click";
const TYPED = ["amount", "limitPrice", "stopPrice", "trail", "takeProfit", "stopLoss"];
const FIELDS = ["side", "type", ...TYPED, "timeInForce"];
const NO_PRICES = Object.fromEntries(TYPED.map((name) => [name, ""]));

export function attach(desk, { notices, sync }) {
  const ticket = new Ticket(desk);
  ticket.review = new Review(desk, ticket, { notices, sync });
  for (const topic of ["portfolio", "orders", "connection", "clock", "second"]) {
    desk.on(topic, () => ticket.show());
  }
  desk.on("ticks", (changed) => changed.has(desk.selected) && ticket.show());
  desk.on("select", (symbol) => ticket.fill({ symbol, ...NO_PRICES }));
  desk.on("ticket", (wanted) => ticket.open(wanted));
  attachShortcuts(desk, ticket); // the last to hear, when the ticket is what was asked for
}

class Ticket {
  constructor(desk) {
    this.desk = desk;
    this.panel = part("ticket");
    this.form = part("ticket-form");
    this.problem = part("ticket-problem");
    this.submit = part("ticket-submit");
    this.oneClick = part("one-click");
    this.order = blankOrder();
    this.clientOrderId = newClientOrderId();
    this.touched = false;
    this.said = ""; // what became of the last attempt to send it, until it is changed or sent again
    this.oneClick.checked = localStorage.getItem(ONE_CLICK) === "on";
    this.listen();
    this.show();
  }

  listen() {
    this.form.addEventListener("input", () => this.read());
    // A key that is held down must not send what nobody read: neither this, nor the review it opens.
    this.panel.addEventListener("keydown", (event) => {
      if (event.repeat && event.key === "Enter") event.preventDefault();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.touched = true;
      this.show();
      if (!this.state.obstacle) this.review.open(this.oneClick.checked);
    });
    this.oneClick.addEventListener("change", () => {
      localStorage.setItem(ONE_CLICK, this.oneClick.checked ? "on" : "off");
      this.show();
    });
  }

  /** Open the ticket for a side (and more), with the cursor where the size goes. */
  open({ symbol, ...wanted }) {
    if (symbol) this.desk.select(symbol);
    this.desk.tell("view", "trade");
    this.review.close();
    this.fill(wanted);
    this.form.elements.amount.focus();
    this.form.elements.amount.select();
  }

  /** Put values into the ticket, as if they had been typed. */
  fill(values) {
    Object.assign(this.order, values);
    const { elements } = this.form;
    for (const name of FIELDS) {
      elements[name].value = this.order[name];
    }
    this.touched = false;
    this.said = "";
    this.review.close();
    this.show();
  }

  /** A new order, after the last one was accepted. */
  renew() {
    this.clientOrderId = newClientOrderId();
    this.fill({ amount: "", takeProfit: "", stopLoss: "" });
  }

  read() {
    const { elements } = this.form;
    this.said = "";
    for (const name of FIELDS) {
      this.order[name] = ungrouped(elements[name].value);
    }
    this.show();
  }

  /** What is true of this order now: its estimate and what stands in its way. */
  get state() {
    const { desk, order } = this;
    const quote = desk.selected ? desk.ticks.get(desk.selected) : null;
    const position = desk.position(desk.selected);
    const power = desk.account ? parse(desk.account.buying_power) : null;
    const estimated = estimate(order, quote, power, position);
    const market = {
      open: desk.market.open,
      stale: desk.selected ? desk.staleness(desk.selected) : null,
      blocked: blocked(desk.account),
      shorting: desk.account?.shorting_enabled ?? false,
    };
    const context = { quote, position, market, estimated };
    return { quote, position, power, estimated, obstacle: obstacle(order, context) };
  }

  // Exits are on the other side of what is held, whatever was chosen before.
  followPosition() {
    const position = this.desk.position(this.order.symbol);
    if (!isExits(this.order) || !position) return;
    this.order.side = Number(position.qty) < 0 ? "buy" : "sell";
    this.form.elements.side.value = this.order.side;
  }

  show() {
    this.followPosition();
    const { order, state } = this;
    this.panel.dataset.side = order.side;
    attribute(part("limit-field"), "hidden", !has(order, "limitPrice"));
    attribute(part("stop-field"), "hidden", !has(order, "stopPrice"));
    attribute(part("trail-field"), "hidden", !has(order, "trail"));
    attribute(part("exits"), "hidden", !takesExits(order) && !isExits(order));
    attribute(part("exits-hint"), "hidden", !isExits(order));
    attribute(part("sides"), "hidden", isExits(order));
    const dollars = order.by === "dollars";
    write(part("amount-label"), dollars ? "Dollars" : "Shares");
    write(part("amount-by"), dollars ? "Use shares" : "Use dollars");
    write(part("ticket-symbol"), order.symbol ?? "–");
    write(part("ticket-holding"), holding(state.position));
    showTouch(state.quote);
    this.showEstimate(state);
    this.showProblem(state.obstacle);
    write(this.submit, label(order, this.oneClick.checked));
  }

  showEstimate({ estimated, power }) {
    const at = (name) => part("estimate", name);
    const buy = this.order.side === "buy";
    write(part("estimate-label"), buy ? "Estimated cost" : "Estimated proceeds");
    write(at("value"), money(number(estimated.value)));
    write(at("held"), money(number(estimated.held)));
    attribute(part("estimate-held-row"), "hidden", estimated.held === 0n);
    write(at("power"), money(number(power)));
    write(at("left"), money(number(estimated.left)));
    attribute(at("left"), "data-direction", estimated.left < 0n ? "down" : null);
    const short = sellsShort(this.order, this.desk.position(this.order.symbol));
    attribute(this.panel, "data-short", short);
  }

  /** What became of the last attempt to send it, and then what stands in its way now. */
  told(obstacle) {
    return [this.said, obstacle].filter(Boolean).join(" ");
  }

  // What is merely not typed yet is no fault: it disables the button and says nothing.
  showProblem(obstacle) {
    const blank = TYPED.includes(obstacle?.field) && this.order[obstacle.field] === "";
    const quiet = blank && !this.touched;
    write(this.problem, this.told(quiet ? null : obstacle?.text));
    for (const name of [...TYPED, "timeInForce"]) {
      const wrong = obstacle?.field === name && !quiet;
      attribute(this.form.elements[name], "aria-invalid", wrong ? "true" : null);
    }
    disable(this.submit, obstacle !== null, this.panel);
  }
}

function holding(position) {
  return position ? `You hold ${quantity(position.qty)}` : "";
}

function label(order, oneClick) {
  const verb = order.side === "buy" ? "buy" : "sell";
  return oneClick ? `Place ${verb} order` : `Review ${verb} order`;
}
