"""What orders go through, whoever brings it about: taken or refused, replaced, filled, over."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from tests.trading.lives.accounts import Accounts, fee_of
from tests.trading.lives.tickets import OPEN, WORKING, No, Ticket


class Orders(Accounts):
    """Every change of an order's state is an event of its account."""

    def submit(self, order: Ticket, legs: list[Ticket]) -> None:
        """Take an order; a refusal is an event too."""
        try:
            self.judge(order)
        except No:
            order.life.events += 1
            raise
        for one in (order, *legs):
            one.family = [order, *legs]
            one.become(one.status)
            self.orders.append(one)

    def replace(self, old: Ticket, order: Ticket) -> None:
        """Put an order in the place of another; of one with relatives only the price changes."""
        family, status = [old, *old.relatives], old.status
        order.method, order.named = old.method, old.named
        try:
            if status not in ("held", *WORKING) or (old.leg and not lie_apart(order, old)):
                raise No
            old.status = "replaced"
            if status == "held":
                order.status, order.bound = "held", Fraction(order.limit)
            elif old.leg:
                self.assess(order, but=family)
            else:
                self.judge(order)
        except No:
            old.status = status
            order.life.events += 1
            raise
        old.become("replaced")
        order.become(order.status)
        self.orders.append(order)
        order.family = [*old.relatives, order]  # it is the newest of them, and goes to work last
        for one in old.relatives:
            one.family = order.family

    def cancel(self, order: Ticket) -> None:
        order.become("canceled")
        self.lead(order)

    def lead(self, order: Ticket) -> list[Ticket]:
        """What an order's new state does to its relatives; those that go to work now."""
        others = order.relatives
        if order.leg == "entry":
            unheld = int(order.life.books.quantity) - self.held(order.life)[1]
            for one in others if order.status not in OPEN else []:
                entered = min(one.quantity - order.left, unheld)
                one.quantity = entered if entered > 0 else one.quantity
                woken = "new" if order.status == "filled" else "accepted"
                one.become(woken if entered > 0 else "canceled")
            return [one for one in others if one.status == "new"]
        for one in others:
            if order.status not in OPEN:
                one.become("canceled")
            elif order.filled:
                one.quantity = one.filled + order.left
                one.reached = min(one.reached, one.left)
                one.life.events += 1
            elif one.status == "held":
                one.become("new")
        return [one for one in others if one.status == "new" and not order.filled]

    def book(self, order: Ticket, quantity: int, price: int) -> list[Ticket]:
        """An execution; those that it puts to work."""
        order.filled += quantity
        fee = Decimal(0) if order.buys else fee_of(quantity, price)
        side = "buy" if order.buys else "sell"
        amounts = Decimal(quantity), Decimal(price), fee
        order.life.books.execute(side, *amounts, order.method, order.named)
        order.become("partially_filled" if order.left else "filled")
        return self.lead(order)

    def expire(self, *lasts: str) -> None:
        for order in self.orders:
            if order.status in OPEN and order.lasts in lasts:
                order.become("expired")


def lie_apart(order: Ticket, old: Ticket) -> bool:
    """The stop lies below the other prices of its family; once triggered it has none to change."""
    family = [order, *old.relatives]
    stops = [one.price for one in family if one.leg == "loss" or one.kind == "stop"]
    others = [one.price for one in family if one.leg != "loss" and one.kind == "limit"]
    return old.kind != "market" and all(stop < other for stop in stops for other in others)
