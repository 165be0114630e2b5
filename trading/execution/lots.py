"""Which lots the orders of a batch may close, and how many shares of each position at most."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal

from portfolios.lot_rows import Key
from portfolios.lots import OLDEST_FIRST, Choice
from portfolios.models import Lot, LotMethod
from quotes.amounts import QUANTITY_PLACES, from_units
from trading.execution.decisions import Decision, Execution
from trading.models import Order


def lot_choice(order: Order, lots: Collection[Lot]) -> Choice:
    """Which of its position's lots the order closes first; those it named may be gone."""
    if order.lot_method == LotMethod.FIFO:
        return OLDEST_FIRST
    by_id = {lot.pk: lot for lot in lots}
    named = (by_id[pk].execution_id for pk in order.lot_ids or () if pk in by_id)
    return Choice(LotMethod(order.lot_method), tuple(named))


def lots_chosen(orders: Iterable[Order]) -> tuple[dict[Key, set[str]], set[int]]:
    """By which methods the orders close lots of each position, and which lots they name."""
    methods: dict[Key, set[str]] = {}
    named: set[int] = set()
    for order in orders:
        methods.setdefault((order.account_id, order.instrument_id), set()).add(order.lot_method)
        named.update(order.lot_ids or ())
    return methods, named


def trades(decisions: Iterable[Decision]) -> Iterator[tuple[Key, Decimal]]:
    """What the decisions buy, and with a minus what they sell, by position."""
    for one in decisions:
        if isinstance(one, Execution):
            quantity = from_units(one.match.quantity, QUANTITY_PLACES)
            key = (one.account_id, one.order.instrument_id)
            yield key, quantity if one.order.is_buy else -quantity
