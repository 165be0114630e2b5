"""The market of one instrument and what it does to orders, in the most obvious way.

A list of orders and a loop over it for each tick. Whole shares and whole dollars, so that nothing
but a fee is ever rounded. It shares nothing with the real thing but the words. `market` is what
stands there, `orders` what orders go through, `accounts` what they may and hold; the books of each
account are those of `tests.portfolios.model`.
"""

from __future__ import annotations

from tests.trading.lives.orders import Orders
from tests.trading.lives.tickets import AUCTIONS, WORKING, Ticket


class Lives(Orders):
    """Accounts, orders and the market."""

    was_halted = False  # when the engine last looked

    def take_in(self) -> None:
        """New orders meet what stands, the oldest first; after a halt the resting ones before."""
        if self.was_halted and not self.market.is_halted:
            self.meet()
        self.was_halted = self.market.is_halted
        for order in self.orders:
            waits = not self.market.is_open or order.lasts in AUCTIONS
            if order.status == "accepted" and not waits:
                order.become("new")
                self.work([order, *self.lead(order)])

    def work(self, orders: list[Ticket]) -> None:
        for order in orders:
            if order.status not in WORKING:
                continue
            if order.kind in ("stop", "trail"):
                self.follow(order) if order.trail and self.market.has_quote else None
                self.trigger(order) if order.kind == "stop" and self.market.has_trade else None
                continue
            woken = self.fill(order)
            if order.lasts in ("ioc", "fok") and order.status in WORKING:
                order.become("canceled")
            elif order.status in WORKING and self.market.trades:
                self.market.line_up(order)
            self.work(woken)

    def follow(self, trail: Ticket) -> None:
        """Let a trailing stop, which sells, keep its distance from the best bid."""
        if trail.status in WORKING and not self.market.is_halted:
            trail.price = max(trail.price, self.market.touch[0] - trail.trail)
            self.trigger(trail, self.market.touch[0])

    def trigger(self, stop: Ticket, price: int = 0) -> None:
        """A stop whose price is met becomes a limit or market order, where that is affordable."""
        beyond = ((price or self.market.last) - stop.price) * (1 if stop.buys else -1)
        if stop.status not in WORKING or self.market.is_halted or beyond < 0:
            return
        stop.kind = "limit" if stop.then else "market"
        if stop.then:
            stop.price = stop.then
        else:
            stop.bound = self.collar(stop, 0 if self.market.has_quote else self.market.last)
            stop.unit = stop.bound * stop.part if stop.buys else stop.unit
        if not stop.limit and stop.hold()[0] > self.free(stop.life, but=[stop]):
            self.cancel(stop)
        else:
            stop.life.events += 1
            self.work([stop])

    def fill(self, order: Ticket) -> list[Ticket]:
        """Let an order meet the quote that stands; those that this puts to work."""
        quantity = self.market.take(order) if order.status in WORKING else 0
        return self.book(order, quantity, self.market.touch[order.buys]) if quantity else []

    def forget(self) -> None:
        """Another engine takes over; who was in line lines up anew."""
        self.was_halted = False
        self.market.forget()
        for order in self.orders:
            order.ahead, order.reached = None, 0

    def quote(self, touch: list[int], sizes: list[int]) -> None:
        self.market.show(touch, sizes)
        self.meet()

    def meet(self) -> None:
        """Resting orders meet the quote that stands, the best price first; then stops trail it."""
        if not self.market.has_quote:
            return
        woken: list[Ticket] = []
        for order in [*self.resting(buys=True), *self.resting(buys=False)]:
            self.market.line_up(order) if self.market.trades else None
            woken += self.fill(order)
        trails = [one for one in self.orders if one.kind == "trail" and one.status in WORKING]
        highest = self.market.touch[0]
        for trail in sorted(trails, key=lambda one: -max(one.price, highest - one.trail)):
            self.follow(trail)
        self.work(woken)

    def resting(self, *, buys: bool) -> list[Ticket]:
        """One side's orders, the best price first, then the oldest."""
        working = [one for one in self.orders if one.status in WORKING and one.buys is buys]
        found = [one for one in working if one.kind not in ("stop", "trail")]
        return sorted(found, key=lambda one: -one.bound if buys else one.bound)

    def trade(self, price: int, size: int) -> None:
        """A print: those in line move up, and stops are triggered."""
        self.market.last, self.market.has_trade = price, self.market.is_open
        if not self.market.is_open or self.market.is_halted:
            return
        woken: list[Ticket] = []
        stops = [one for one in self.orders if one.kind == "stop" and one.status in WORKING]
        for buys in (True, False):
            for order, quantity in list(self.market.let(self.resting(buys=buys), price, size)):
                woken += self.book(order, quantity, order.price)
        for stop in sorted(stops, key=lambda one: (not one.buys, one.price * (2 * one.buys - 1))):
            self.trigger(stop)
        self.work(woken)

    def auction(self, lasts: str, price: int, size: int) -> None:
        """An auction has printed: who waited for it and accepts its price has it, in full."""
        self.market.last = price
        for order in self.orders:
            if order.status == "accepted" and order.lasts == lasts and not self.market.is_halted:
                self.cross(order, price)
        self.trade(price, size)

    def cross(self, order: Ticket, price: int) -> None:
        beyond = price > order.limit if order.buys else price < order.limit
        if order.limit and beyond:
            order.become("canceled")
            return
        if order.opens and not order.limit:
            order.unit = price * order.part
            if order.hold()[0] > self.free(order.life, but=[order]):
                order.become("rejected")
                return
        order.become("new")
        self.book(order, order.left, price)

    def close(self) -> None:
        self.expire("day", "opg")
        self.market.is_open = self.market.has_quote = self.market.has_trade = False

    def evening(self) -> None:
        self.expire("cls")
        self.market.is_evening = True
