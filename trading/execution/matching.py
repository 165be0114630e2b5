"""Matching: a working order and a quote give a fill, or the reason for waiting. Pure.

Integers throughout: prices and cash in 1/10,000 USD, quantities in billionths of a share; the
sizes of a quote are whole shares, as everywhere. No store, no clock, no messages: the engine
decides when the market is open and which quote stands.

An order executes at the touch, a buy at the ask and a sell at the bid, never beyond its `bound`:
its limit, or the collar of a market order. Under the model `nbbo` no more trades at a price than
is displayed there, and what has been taken stays taken until the quote shows fresh size. Under
`instant` the whole quantity trades at the touch. Under `queue` (`queue.py`) resting limit orders
stand in line as well.

A fill that leaves something of the order is for whole shares; only the fill that completes an
order may be fractional. So every partial fill is worth an exact amount, and rounding happens at
most once in an order's life: no buy ever costs more than was held for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from quotes.amounts import QUANTITY_UNIT
from quotes.ticks import Quote
from trading.trailing import Trail

NEVER_US = 2**62  # a time that no market reaches: the expiry of what does not expire

MODEL_VERSION = 2  # raised with every change of what a model would fill


class FillModel(StrEnum):
    NBBO = "nbbo"
    INSTANT = "instant"
    QUEUE = "queue"


class Waiting(StrEnum):
    """Why an order does not trade; the words are shown to its owner."""

    LIMIT = ""  # the touch is beyond the limit: what a resting order is for
    COLLAR = "the market has left the price that a market order is protected to"
    NO_QUOTE = "waiting for a quote"
    ONE_SIDED = "nobody offers the other side"
    CROSSED = "the quote is crossed"
    SIZE = "the displayed size is taken, waiting for fresh size"
    WHOLE = "not all of it could be had at once"
    LINE = "others stood at its price first"
    WORTHLESS = "what is left is worth less than 0.0001 USD"
    HALTED = "trading in this instrument is halted"
    STALE = "the market data feed is silent"
    CLOSED = "the market is closed"
    OPENING = "waiting for the opening auction"
    CLOSING = "waiting for the closing auction"


@dataclass(slots=True)
class WorkingOrder:
    """An admitted order as the book keeps it. Exactly one of `leaves` and `cash_left` is set.

    A stop is a market or limit order that waits while its `stop` is set.
    """

    pk: int
    public_id: UUID
    account_id: int
    instrument_id: int
    symbol: str
    is_buy: bool
    is_market: bool
    bound: int  # the worst price it may execute at; 0 for a sell at any price
    leaves: int | None  # quantity not yet filled
    cash_left: int | None  # of an order by amount: what it may still buy or sell for
    expires_us: int
    extended_hours: bool = False
    is_immediate: bool = False  # ioc, fok: what does not fill at once is canceled
    is_all_or_none: bool = False  # fok
    is_short: bool = False  # it opens a short position
    auction: str = ""  # quotes.ticks.OPEN or CLOSE: it trades in that auction only
    stop: int = 0  # the price that triggers it; 0: it is no stop, or was triggered
    trail: Trail | None = None
    mark: int = 0  # of a trailing stop: the best price it has followed
    ahead: int | None = None  # in line before it (`queue.py`); None: it has no place yet
    reached: int = 0  # what would have filled, were nobody before it
    submitted_us: int = 0
    fills: int = 0  # how many it has had
    reason: str = ""  # why it waits, as its row says
    family: int = 0  # of a bracket, OCO or OTO: the row id of the parent; 0: it belongs to none
    # The other exit of its pair: what one of them fills, the other has no more to do.
    rivals: tuple[WorkingOrder, ...] = field(default=(), compare=False, repr=False)
    # The exits that go to work when it is filled, or those of an OCO when it is taken in.
    followers: tuple[WorkingOrder, ...] = field(default=(), compare=False, repr=False)

    def wanted(self, price: int) -> int:
        """How much it would trade at this price if there were no end of size."""
        if self.leaves is not None:
            return self.leaves - self.reached
        assert self.cash_left is not None
        return self.cash_left * QUANTITY_UNIT // price

    def take(self, match: Match) -> bool:
        """Count a fill in, also with its rivals; True when the order is done."""
        self.fills += 1
        for rival in self.rivals:
            rival.yield_to(match.quantity)
        if self.leaves is not None:
            self.leaves -= match.quantity
            assert self.leaves >= 0, f"order {self.pk} overfilled"
            return self.leaves == 0
        assert self.cash_left is not None
        self.cash_left -= match.cash
        assert self.cash_left >= 0, f"order {self.pk} overspent"
        return self.wanted(match.price) == 0

    def yield_to(self, quantity: int) -> None:
        """Another exit of its pair has filled so much of what both were to close."""
        assert self.leaves is not None
        self.leaves = max(self.leaves - quantity, 0)
        self.reached = min(self.reached, self.leaves)

    @property
    def is_in_line(self) -> bool:
        """Whether somebody stands before it, or it still waits for what it has reached."""
        return bool(self.ahead or self.reached)


class Match(NamedTuple):
    """One execution that an order and a quote make."""

    price: int
    quantity: int
    cash: int
    taken_before: int  # of the displayed size, by earlier fills


class Level(NamedTuple):
    """What has been taken of the size displayed at the touch of one side."""

    price: int = 0
    displayed: int = 0  # whole shares
    taken: int = 0  # billionths of a share


UNTOUCHED = Level()


def cash_of(quantity: int, price: int) -> int:
    """Price × quantity, rounded half-even once."""
    whole, rest = divmod(quantity * price, QUANTITY_UNIT)
    half = QUANTITY_UNIT // 2
    return whole + (rest > half or (rest == half and whole % 2 == 1))


def roll(level: Level, price: int, displayed: int) -> Level:
    """What a new quote leaves of a level: a new price starts untouched; at the same price growth
    adds fresh size, and shrinkage caps what is left."""
    if price != level.price:
        return Level(price, displayed, 0)
    if displayed >= level.displayed:
        return Level(price, displayed, level.taken)
    gone = (level.displayed - displayed) * QUANTITY_UNIT
    return Level(price, displayed, max(level.taken - gone, 0))


def touch(quote: Quote, is_buy: bool) -> tuple[int, int]:
    """The price and displayed size that an order of this side meets."""
    return (quote.ask, quote.ask_size) if is_buy else (quote.bid, quote.bid_size)


def is_within(bound: int, price: int, is_buy: bool) -> bool:
    return price <= bound if is_buy else price >= bound


def match(
    order: WorkingOrder, quote: Quote, taken: int, model: FillModel = FillModel.NBBO
) -> Match | Waiting:
    """What the order does with the quote, of whose displayed size `taken` is gone already."""
    price, displayed = touch(quote, order.is_buy)
    if quote.is_crossed:
        return Waiting.CROSSED
    if price <= 0:
        return Waiting.ONE_SIDED
    if not is_within(order.bound, price, order.is_buy):
        return Waiting.COLLAR if order.is_market else Waiting.LIMIT

    quantity = order.wanted(price)
    if model is not FillModel.INSTANT:
        available = max(displayed * QUANTITY_UNIT - taken, 0)
        if quantity > available and order.is_all_or_none:
            return Waiting.WHOLE
        if quantity > available:
            quantity = available - available % QUANTITY_UNIT  # a partial fill is whole shares
        if quantity == 0:
            return Waiting.SIZE
    cash = cash_of(quantity, price)
    if cash == 0:
        return Waiting.WORTHLESS
    return Match(price, quantity, cash, taken)


def sweep(
    orders: Iterable[WorkingOrder], quote: Quote, level: Level, model: FillModel = FillModel.NBBO
) -> tuple[list[tuple[WorkingOrder, Match, bool]], Level]:
    """Match one side's orders, given best price first then oldest first, against one quote.

    Returns the fills in the order they happen, each with whether it completed its order, and what
    is left of the level. `level` must have been rolled to this quote. What an order in line reaches
    is no fill; it counts in the order and in the level.
    """
    fills: list[tuple[WorkingOrder, Match, bool]] = []
    for order in orders:
        outcome = match(order, quote, level.taken, model)
        if isinstance(outcome, Match):
            if model is not FillModel.INSTANT:
                level = level._replace(taken=level.taken + outcome.quantity)
            if order.is_in_line:
                order.reached += outcome.quantity
            else:
                fills.append((order, outcome, order.take(outcome)))
        elif outcome in (Waiting.LIMIT, Waiting.COLLAR, Waiting.CROSSED, Waiting.ONE_SIDED):
            break  # whoever comes later has no better price
        if model is not FillModel.INSTANT and level.taken >= level.displayed * QUANTITY_UNIT:
            break
    return fills, level


def match_auction(order: WorkingOrder, price: int) -> Match | None:
    """What an order does in an auction that was held at this price: all of it, or nothing.

    An auction finds the one price at which most can trade; whoever accepts that price trades.
    """
    if not order.is_market and not is_within(order.bound, price, order.is_buy):
        return None
    quantity = order.wanted(price)
    cash = cash_of(quantity, price)
    return Match(price, quantity, cash, 0) if cash else None


def give_back(level: Level, price: int, quantity: int) -> Level:
    """Return the size of a fill that was not settled, where its price still stands."""
    if price != level.price:
        return level
    return level._replace(taken=max(level.taken - quantity, 0))
