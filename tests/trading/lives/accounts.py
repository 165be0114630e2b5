"""What accounts have, what their orders hold of it, and what is refused to them."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from fractions import Fraction

from tests.trading.lives.market import Market
from tests.trading.lives.tickets import AUCTIONS, NONE, OPEN, WORKING, Life, No, Ticket


class Accounts:
    """Lives and their orders, in the order in which they came."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.lives: list[Life] = []
        self.orders: list[Ticket] = []

    def held(self, life: Life, but: Collection[Ticket] = ()) -> tuple[Fraction, int]:
        """The cash and shares that its orders hold, these apart."""
        holds = [one.hold() for one in self.orders if one.life is life and one not in but]
        return sum((cash for cash, _ in holds), NONE), sum(shares for _, shares in holds)

    def leverage(self, life: Life) -> int:
        return 2 if life.on_margin and self.equity(life) >= 2_000 else 1

    def equity(self, life: Life) -> Fraction:
        return life.books.cash + life.books.quantity * self.market.last

    def free(self, life: Life, but: Collection[Ticket] = ()) -> Fraction:
        """What neither positions nor orders need, these apart; a cash account's are paid for."""
        needed = abs(life.books.quantity * self.market.last) / self.leverage(life)
        own = self.equity(life) - needed if life.on_margin else life.books.cash
        return max(own - self.held(life, but)[0], NONE)

    def deposit(self, life: Life, amount: int) -> None:
        life.books.cash += amount
        life.events += 1

    def withdraw(self, life: Life, amount: int) -> None:
        owed = min(life.books.quantity * self.market.last, NONE)
        if amount > min(self.free(life), life.books.cash + owed - self.held(life)[0]):
            raise No
        self.deposit(life, -amount)

    def stop(self, life: Life) -> None:
        """The kill switch."""
        life.stopped = True
        life.events += 1
        self.cancel_all(life)

    def reset(self, life: Life) -> None:
        """The account is closed, its orders end, and another takes its place."""
        life.events += 1
        self.cancel_all(life)
        life.events += 1

    def cancel_all(self, life: Life) -> None:
        for order in self.orders:
            if order.life is life and order.status in OPEN:
                order.become("canceled")

    def judge(self, order: Ticket) -> None:
        """Whether a new order is taken, beside all that the account has open."""
        life, books = order.life, order.life.books
        self.assess(order)
        if (
            (order.leg and (order.leg == "profit") is order.opens)
            or (order.named and order.buys is (books.direction == 1))
            or any(self.meets(order, other) for other in self.orders if other.life is life)
        ):
            raise No

    def assess(self, order: Ticket, but: Collection[Ticket] = ()) -> None:
        """What the order holds, and whether the account has that, where these hold nothing."""
        life, has = order.life, int(order.life.books.quantity)
        order.opens = has >= 0 if order.buys else has <= 0 and life.on_margin
        short = order.opens and not order.buys
        order.bound = Fraction(order.limit) or self.collar(order, order.price)
        worst = max(Fraction(order.limit), self.market.touch[1] * Fraction("1.03"))
        order.part = Fraction(1, self.leverage(life))
        order.unit = (worst if short else order.bound) * order.part
        if order.kind == "trail":
            order.price = self.market.touch[0] - order.trail
        closable = max(-has if order.buys else has, 0) - self.held(life, but)[1]
        if (
            life.stopped
            or not self.takes(order)
            or (short and self.leverage(life) == 1)
            or (order.opens and order.quantity * order.unit > self.free(life, but))
            or (not order.opens and order.quantity > closable)
        ):
            raise No

    def takes(self, order: Ticket) -> bool:
        """Whether such an order is taken now: for the opening auction only in the evening before,
        for the closing one also during the day."""
        if order.lasts == "opg":
            return self.market.is_evening
        if order.lasts == "cls":
            return self.market.is_open or self.market.is_evening
        return self.market.is_open or order.lasts not in ("ioc", "fok")

    def collar(self, order: Ticket, price: int) -> Fraction:
        """The worst price of what is no limit order, from a stop's price or else the touch; where
        an auction will tell the price, from the last."""
        if not order.buys and not order.opens:
            return NONE
        price = price or self.market.last if order.lasts in AUCTIONS else price
        return (price or self.market.touch[order.buys]) * Fraction("1.04" if order.buys else "0.97")

    def meets(self, order: Ticket, other: Ticket) -> bool:
        """Two orders of one account that could trade with each other, or open to both sides."""
        if other.buys is order.buys or other.status not in ("accepted", *WORKING):
            return False
        exempt = order.leg or other.leg == "loss" or "trail" in (order.kind, other.kind)
        if exempt or (order.opens and other.opens):
            return order.opens and other.opens
        buy, sell = (order, other) if order.buys else (other, order)
        return not buy.limit or not sell.limit or buy.limit >= sell.limit


def fee_of(shares: int, price: int) -> Decimal:
    """October 2013: 17.40 USD a million of sales, 119 USD a million shares; each in whole cents."""
    sale = -(-shares * price * 1740 // 1_000_000)
    activity = min(-(-shares * 11900 // 1_000_000), 595)
    return Decimal(sale + activity) / 100
