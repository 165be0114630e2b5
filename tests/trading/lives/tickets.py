"""The two things that there are: an account, and an order. Whole shares and whole dollars."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from tests.portfolios.model import Model as Books
from tests.portfolios.model import ModelLot

NONE = Fraction(0)
WORKING = ("new", "partially_filled")
OPEN = ("accepted", "held", *WORKING)
AUCTIONS = ("opg", "cls")


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
    the best bid. `method` says which lots it closes, `named` which of them first. In line (the
    model `queue`) so many shares are `ahead` of it, and it has `reached` so many that it cannot
    have before those are gone.
    """

    life: Life
    buys: bool
    quantity: int
    kind: str = "limit"  # market, limit, stop, trail
    price: int = 0  # of the limit or the stop, in dollars
    lasts: str = "day"  # day, gtc, ioc, fok, opg, cls
    leg: str = ""  # entry, profit and loss of a bracket or OCO, exit of an OTO
    status: str = "accepted"
    filled: int = 0
    then: int = 0
    trail: int = 0
    method: str = "fifo"
    named: tuple[ModelLot, ...] = ()
    opens: bool = False
    bound: Fraction = NONE
    part: Fraction = NONE  # of its worth that it holds
    unit: Fraction = NONE
    ahead: int | None = None  # None: it has no place in line yet
    reached: int = 0
    family: list[Ticket] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.quantity - self.filled

    @property
    def limit(self) -> int:
        return self.price if self.kind == "limit" else self.then

    @property
    def relatives(self) -> list[Ticket]:
        """The others of its bracket, OCO or OTO that are open."""
        return [one for one in self.family if one is not self and one.status in OPEN]

    def become(self, status: str) -> None:
        self.status = status
        self.life.events += 1

    def hold(self) -> tuple[Fraction, int]:
        """The cash and shares that it keeps from others; a take-profit has those of its pair."""
        if self.status not in ("accepted", *WORKING) or self.leg == "loss":
            return NONE, 0
        return (self.left * self.unit, 0) if self.opens else (NONE, self.left)
