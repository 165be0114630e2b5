"""What accounts go through in a market of one instrument, in the most obvious way.

A list of orders and a loop over it for each tick. Whole shares and whole dollars, so that nothing
but a fee is ever rounded. It shares nothing with the real thing but the words; the books of each
account are those of `tests.portfolios.model`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from tests.portfolios.model import Model as Books

NONE = Fraction(0)
WORKING = ("new", "partially_filled")
OPEN = ("accepted", "held", *WORKING)


class No(Exception):
    """What was asked for is refused."""


@dataclass(eq=False)
class Life:
    """One account."""

    on_margin: bool
    books: Books
    events: int
    stopped: bool = False


@dataclass(eq=False)
class Ticket:
    """An order: `bound` is its worst price, `unit` the cash that a share of it holds.

    Of a stop `price` is the stop, `then` the limit that it becomes, and `trail` its distance from
    the best bid.
    """

    life: Life
    buys: bool
    quantity: int
    kind: str = "limit"  # market, limit, stop, trail
    price: int = 0  # of the limit or the stop, in dollars
    lasts: str = "day"  # day, gtc, ioc, fok
    leg: str = ""  # entry, profit and loss of a bracket or OCO, exit of an OTO
    status: str = "accepted"
    filled: int = 0
    then: int = 0
    trail: int = 0
    opens: bool = False
    bound: Fraction = NONE
    part: Fraction = NONE  # of its worth that it holds
    unit: Fraction = NONE
    family: list[Ticket] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.quantity - self.filled

    @property
    def limit(self) -> int:
        return self.price if self.kind == "limit" else self.then

    def become(self, status: str) -> None:
        self.status = status
        self.life.events += 1

    def hold(self) -> tuple[Fraction, int]:
        """The cash and shares that it keeps from others; a take-profit has those of its pair."""
        if self.status not in ("accepted", *WORKING) or self.leg == "loss":
            return NONE, 0
        return (self.left * self.unit, 0) if self.opens else (NONE, self.left)


class Lives:
    """Accounts, orders and the market: what stands, what is taken of it, what was printed."""

    def __init__(self) -> None:
        self.lives: list[Life] = []
        self.orders: list[Ticket] = []
        self.touch, self.sizes, self.taken = [0, 0], [0, 0], [0, 0]  # of the bid, of the ask
        self.takes = [(0, 0, 0)] * 2  # the last: price, size, all taken of it
        self.last = 0
        self.is_open, self.is_halted = True, False
        self.was_halted = False  # when the engine last looked
        self.has_quote = self.has_trade = False  # of this session

    def held(self, life: Life) -> tuple[Fraction, int]:
        holds = [order.hold() for order in self.orders if order.life is life]
        return sum((cash for cash, _ in holds), NONE), sum(shares for _, shares in holds)

    def leverage(self, life: Life) -> int:
        return 2 if life.on_margin and self.equity(life) >= 2_000 else 1

    def equity(self, life: Life) -> Fraction:
        return life.books.cash + life.books.quantity * self.last

    def free(self, life: Life, but: Fraction = NONE) -> Fraction:
        """What neither positions nor orders need, `but` this; a cash account's are paid for."""
        needed = abs(life.books.quantity * self.last) / self.leverage(life)
        own = self.equity(life) - needed if life.on_margin else life.books.cash
        return max(own - self.held(life)[0] + but, NONE)

    def withdraw(self, life: Life, amount: int) -> None:
        owed = min(life.books.quantity * self.last, NONE)
        if amount > min(self.free(life), life.books.cash + owed - self.held(life)[0]):
            raise No
        self.deposit(life, -amount)

    def deposit(self, life: Life, amount: int) -> None:
        life.books.cash += amount
        life.events += 1

    def submit(self, order: Ticket, legs: list[Ticket], old: Ticket | None = None) -> None:
        """Take an order, or one that replaces another; a refusal is an event too."""
        status = old.status if old else ""
        try:
            if old:
                old.status = "replaced"
            self.judge(order, legs)
        except No:
            if old:
                old.status = status
            order.life.events += 1
            raise
        order.life.events += 1 if old else 0
        for one in (order, *legs):
            one.family = [order, *legs]
            one.become(one.status)
            self.orders.append(one)

    def judge(self, order: Ticket, legs: list[Ticket]) -> None:
        life, has = order.life, int(order.life.books.quantity)
        order.opens = has >= 0 if order.buys else has <= 0 and life.on_margin
        short = order.opens and not order.buys
        order.bound = Fraction(order.limit) or self.collar(order, order.price)
        worst = max(Fraction(order.limit), self.touch[1] * Fraction("1.03"))
        order.part = Fraction(1, self.leverage(life))
        order.unit = (worst if short else order.bound) * order.part
        if order.kind == "trail":
            order.price = self.touch[0] - order.trail
        closable = max(-has if order.buys else has, 0) - self.held(life)[1]
        if (
            life.stopped
            or (order.lasts in ("ioc", "fok") and not self.is_open)
            or (order.leg and (order.leg == "profit") is order.opens)
            or (short and self.leverage(life) == 1)
            or (order.opens and order.quantity * order.unit > self.free(life))
            or (not order.opens and order.quantity > closable)
            or any(self.meets(order, other) for other in self.orders if other.life is life)
        ):
            raise No

    def collar(self, order: Ticket, price: int) -> Fraction:
        """The worst price of what is no limit order, from a stop's price or else the touch."""
        if order.buys or order.opens:
            return (price or self.touch[order.buys]) * Fraction("1.04" if order.buys else "0.97")
        return NONE

    def meets(self, order: Ticket, other: Ticket) -> bool:
        """Two orders of one account that could trade with each other, or open to both sides."""
        if other.buys is order.buys or other.status not in ("accepted", *WORKING):
            return False
        exempt = order.leg or other.leg == "loss" or "trail" in (order.kind, other.kind)
        if exempt or (order.opens and other.opens):
            return order.opens and other.opens
        buy, sell = (order, other) if order.buys else (other, order)
        return not buy.limit or not sell.limit or buy.limit >= sell.limit

    def cancel(self, order: Ticket) -> None:
        order.become("canceled")
        self.lead(order)

    def lead(self, order: Ticket) -> list[Ticket]:
        """What an order's new state does to its relatives; those that go to work now."""
        others = [one for one in order.family if one is not order and one.status in OPEN]
        if order.leg == "entry":
            unheld = int(order.life.books.quantity) - self.held(order.life)[1]
            for one in others if order.status not in OPEN else []:
                one.quantity = min(order.filled, unheld) or one.quantity
                woken = "new" if order.status == "filled" else "accepted"
                one.become(woken if min(order.filled, unheld) > 0 else "canceled")
            return [one for one in others if one.status == "new"]
        for one in others:
            if order.status not in OPEN:
                one.become("canceled")
            elif order.filled:
                one.quantity = one.filled + order.left
                one.life.events += 1
            elif one.status == "held":
                one.become("new")
        return [one for one in others if one.status == "new" and not order.filled]

    def take_in(self) -> None:
        """New orders meet what stands, the oldest first; after a halt the resting ones before."""
        if self.was_halted and not self.is_halted:
            self.meet()
        self.was_halted = self.is_halted
        for order in self.orders:
            if order.status == "accepted" and self.is_open:
                order.become("new")
                woken = self.lead(order)
                self.work([order, *woken])

    def work(self, orders: list[Ticket]) -> None:
        for order in orders:
            if order.status not in WORKING:
                continue
            if order.kind in ("stop", "trail"):
                self.follow(order) if order.trail and self.has_quote else None
                self.trigger(order) if order.kind == "stop" and self.has_trade else None
                continue
            woken = self.fill(order) if self.has_quote else []
            if order.lasts in ("ioc", "fok") and order.status in WORKING:
                order.become("canceled")
            self.work(woken)

    def follow(self, trail: Ticket) -> None:
        """Let a trailing stop, which sells, keep its distance from the best bid."""
        if trail.status in WORKING and not self.is_halted:
            trail.price = max(trail.price, self.touch[0] - trail.trail)
            self.trigger(trail, self.touch[0])

    def trigger(self, stop: Ticket, price: int = 0) -> None:
        """A stop whose price is met becomes a limit or market order, where that is affordable."""
        beyond = ((price or self.last) - stop.price) * (1 if stop.buys else -1)
        if stop.status not in WORKING or self.is_halted or beyond < 0:
            return
        stop.kind, stop.price = "limit" if stop.then else "market", stop.then
        if not stop.limit:
            stop.bound = self.collar(stop, 0 if self.has_quote else self.last)
            stop.unit = stop.bound * stop.part if stop.buys else stop.unit
        if not stop.limit and stop.hold()[0] > self.free(stop.life, but=stop.hold()[0]):
            self.cancel(stop)
        else:
            stop.life.events += 1
            self.work([stop])

    def fill(self, order: Ticket) -> list[Ticket]:
        """Let an order meet the quote that stands; those that this puts to work."""
        price, there = self.touch[order.buys], self.sizes[order.buys] - self.taken[order.buys]
        beyond = price > order.bound if order.buys else price < order.bound
        quantity = min(order.left, there)
        short_of = order.lasts == "fok" and quantity < order.left
        if order.status not in WORKING or beyond or self.is_halted or quantity <= 0 or short_of:
            return []
        self.taken[order.buys] += quantity
        self.takes[order.buys] = (price, self.sizes[order.buys], self.taken[order.buys])
        order.filled += quantity
        side = "buy" if order.buys else "sell"
        fee = Decimal(0) if order.buys else fee_of(quantity, price)
        order.life.books.execute(side, Decimal(quantity), Decimal(price), fee)
        order.become("partially_filled" if order.left else "filled")
        return self.lead(order)

    def forget(self) -> None:
        """Another engine takes over: it knows of the last fills, but not of quotes in between."""
        self.was_halted = False
        for side, (price, size, taken) in enumerate(self.takes):
            left = max(taken - max(size - self.sizes[side], 0), 0)
            self.taken[side] = left if price == self.touch[side] else 0

    def quote(self, bid: int, ask: int, bid_size: int, ask_size: int) -> None:
        for side, price, size in ((0, bid, bid_size), (1, ask, ask_size)):
            gone = max(self.sizes[side] - size, 0)
            left = max(self.taken[side] - gone, 0)
            self.taken[side] = left if price == self.touch[side] else 0
            self.touch[side], self.sizes[side] = price, size
        self.has_quote = self.is_open
        self.meet()

    def meet(self) -> None:
        """Resting orders meet the quote that stands, the best price first; then stops trail it."""
        if not self.has_quote:
            return
        woken: list[Ticket] = []
        working = [one for one in self.orders if one.status in WORKING]
        resting = [one for one in working if one.kind not in ("stop", "trail")]
        for order in sorted(
            resting, key=lambda one: (not one.buys, one.bound * (1 - 2 * one.buys))
        ):
            woken += self.fill(order)
        trails = [one for one in working if one.kind == "trail"]
        for trail in sorted(trails, key=lambda one: -max(one.price, self.touch[0] - one.trail)):
            self.follow(trail)
        self.work(woken)

    def trade(self, price: int) -> None:
        self.last, self.has_trade = price, self.is_open
        stops = [one for one in self.orders if one.kind == "stop" and one.status in WORKING]
        for stop in sorted(stops, key=lambda one: (not one.buys, one.price * (2 * one.buys - 1))):
            self.trigger(stop) if self.is_open else None

    def close(self) -> None:
        for order in self.orders:
            if order.status in OPEN and order.lasts == "day":
                order.become("expired")
        self.is_open = self.has_quote = self.has_trade = False


def fee_of(shares: int, price: int) -> Decimal:
    """October 2013: 17.40 USD a million of sales, 119 USD a million shares; each in whole cents."""
    sale = -(-shares * price * 1740 // 1_000_000)
    activity = min(-(-shares * 11900 // 1_000_000), 595)
    return Decimal(sale + activity) / 100
