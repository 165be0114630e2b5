"""Proof of every fill: what its certificate makes of it is what happened.

A fill names the quote, the auction or the trade it came from, what others had taken, and the model.
From that and its order it is worked out again, with the same rules that the engine goes by; and
its fee from the rule pack it names, with the rates of its trade date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, Sum

from quotes.amounts import CASH_PLACES, PRICE_PLACES, QUANTITY_PLACES, from_units, plain
from quotes.clock import market_clock
from trading.execution.certificate import expected_execution_id, expected_fee, recompute
from trading.execution.matching import MODEL_VERSION, FillModel, Match
from trading.models import PAIRS, STOPS, Fill, TimeInForce

SLICE = 1_000  # fills read at a time
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class WrongFill:
    """A fill that is not what its certificate makes of it, and why."""

    fill: Fill
    why: str

    def __str__(self) -> str:
        fill = self.fill
        return (
            f"fill {fill.execution_id}, number {fill.number} of order {fill.order.public_id}: "
            + (self.why)
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How many fills are verified; `wrong` is the first one that is not what it should be."""

    verified: int
    wrong: WrongFill | None = None


def verify_fills() -> Iterator[Progress]:
    """Verify every fill in the order they were settled, slice by slice, up to the first wrong one.

    Reads only, and holds one slice in memory. Fills settled meanwhile are verified too.
    """
    verified = last = 0
    while fills := _next_slice(last):
        before = _Before.of(fills)
        for fill in fills:
            if why := _what_is_wrong(fill, before):
                yield Progress(verified, WrongFill(fill, why))
                return
            before.add(fill)
            verified += 1
        last = fills[-1].pk
        yield Progress(verified)


def verdicts(fills: Iterable[Fill]) -> list[str]:
    """What is wrong with each of these fills, "" for one that is right.

    They are fills of one order from its first on, in their order.
    """
    before = _Before({})
    found = []
    for fill in fills:
        found.append(_what_is_wrong(fill, before))
        before.add(fill)
    return found


def _next_slice(after: int) -> list[Fill]:
    rows = Fill.objects.filter(pk__gt=after).select_related("order__instrument").order_by("pk")
    return list(rows[:SLICE])


@dataclass(slots=True)
class _Before:
    """What the fills before one did to its order: cash, quantity, and how many there were."""

    sums: dict[int, tuple[Decimal, Decimal, int]]

    @classmethod
    def of(cls, fills: list[Fill]) -> _Before:
        earlier = Fill.objects.filter(
            order_id__in={fill.order_id for fill in fills}, pk__lt=fills[0].pk
        )
        rows = earlier.order_by().values("order_id")
        sums = rows.annotate(cash_=Sum("cash"), quantity_=Sum("quantity"), count_=Count("pk"))
        return cls(
            {row["order_id"]: (row["cash_"], row["quantity_"], row["count_"]) for row in sums}
        )

    def at(self, fill: Fill) -> tuple[Decimal, Decimal, int]:
        return self.sums.get(fill.order_id, (ZERO, ZERO, 0))

    def add(self, fill: Fill) -> None:
        cash, quantity, count = self.at(fill)
        self.sums[fill.order_id] = (cash + fill.cash, quantity + fill.quantity, count + 1)


def _what_is_wrong(fill: Fill, before: _Before) -> str:
    """One sentence, or "" for a fill that is right."""
    return _wrong_in_order(fill, before) or _wrong_in_certificate(fill, before)


def _wrong_in_order(fill: Fill, before: _Before) -> str:
    """What of the fill does not fit its order and the fills before it."""
    order = fill.order
    _, quantity, count = before.at(fill)
    if (fill.account_id, fill.instrument_id, fill.side) != (
        order.account_id,
        order.instrument_id,
        order.side,
    ):
        return "account, instrument or side are not the order's"
    if fill.number != count + 1:
        return f"its order had {count} fills before it"
    if fill.cumulative_quantity != quantity + fill.quantity:
        return _differs("cumulative quantity", fill.cumulative_quantity, quantity + fill.quantity)
    left = None if order.quantity is None else order.quantity - fill.cumulative_quantity
    if not _leaves_fit(fill, left):
        return f"it leaves {fill.leaves_quantity}, its order {left}"
    if order.type in STOPS and (order.triggered_at is None or order.triggered_at > fill.at):
        return "its stop had not been triggered"
    if order.time_in_force == TimeInForce.FOK and fill.quantity != order.quantity:
        return "a part of an order that is filled whole or not at all"
    return ""


def _leaves_fit(fill: Fill, left: Decimal | None) -> bool:
    """What the fill left is what the order has left without it; an exit may have had less to do
    since, by what the other of its pair has filled."""
    if fill.order.order_class in PAIRS and fill.order.leg and left is not None:
        return fill.leaves_quantity is not None and fill.leaves_quantity >= left
    return fill.leaves_quantity == left


def _wrong_in_certificate(fill: Fill, before: _Before) -> str:
    """What of the fill does not follow from its certificate."""
    if fill.model not in list(FillModel) or not 1 <= fill.model_version <= MODEL_VERSION:
        return f"model {fill.model} of version {fill.model_version} is not known here"
    if fill.execution_id != expected_execution_id(fill, fill.order):
        return "its id does not follow from its order, quote and number"
    of_the_line = (fill.queue_ahead, fill.queue_reached, fill.trade_price, fill.trade_size)
    if any((value is None) != (fill.trade_sequence is None) for value in of_the_line):
        return "its certificate tells its place in line only in part"
    found = recompute(fill, fill.order, before.at(fill)[0])
    if not isinstance(found, Match):
        return f"its certificate makes no fill: {found or 'the price is beyond the limit'}"
    made = (
        ("price", fill.price, from_units(found.price, PRICE_PLACES)),
        ("quantity", fill.quantity, from_units(found.quantity, QUANTITY_PLACES)),
        ("cash", fill.cash, from_units(found.cash, CASH_PLACES)),
    )
    for name, is_, should in made:
        if is_ != should:
            return _differs(name, is_, should)
    return _wrong_in_fee(fill)


def _wrong_in_fee(fill: Fill) -> str:
    """What of the fee is not as its rule pack has it on the trade date."""
    on = market_clock().calendar.trading_date(fill.at)
    should = expected_fee(fill, on)
    if should is None:
        return f"fees of the pack {fill.fee_pack} are not known here for a {fill.side}"
    if fill.fee != should:
        return _differs("fee", fill.fee, should)
    return ""


def _differs(name: str, is_: Decimal, should: Decimal) -> str:
    return f"its {name} is {plain(is_)}, its certificate makes {plain(should)}"
