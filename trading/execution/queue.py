"""The `queue` model: a resting limit order waits in line behind the size displayed at its price.

It fills no order that `nbbo` would not have filled by then, it only makes some wait longer. An
order that takes at once takes as under `nbbo`. What is left of it stands in line: behind all that
is displayed at its price when it arrives, or, deeper in the book, when its price first is the
touch; behind nobody where it betters the touch. What is displayed before it goes away by trades at
its price alone (that others cancel is not known), or at once when a trade prints through its price.

While somebody is before it, what `nbbo` would have filled is *reached*: the market has been there,
and that size is gone for those behind, but nothing is executed. Trades at its price beyond what
stood before it execute what is reached, at its limit; a trade through its price executes all of it.

A place is kept in memory. An engine that takes over lets everybody line up anew, behind what is
displayed then: no order is ever better off for a crash.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from quotes.amounts import QUANTITY_UNIT
from quotes.ticks import Quote, Trade
from trading.execution.matching import Match, WorkingOrder, cash_of, touch


class Place(NamedTuple):
    """An order's place when a trade came, and that trade; quantities in billionths of a share."""

    ahead: int
    reached: int
    trade_sequence: int
    trade_price: int
    trade_size: int  # whole shares


Advance = tuple[WorkingOrder, Match, bool, Place]  # the bool: whether it completed its order


def line_up(order: WorkingOrder, quote: Quote) -> None:
    """Give the order its place, where the quote tells what stands before it."""
    if order.ahead is not None or order.is_market or order.leaves is None or quote.is_crossed:
        return
    price, displayed = touch(quote, not order.is_buy)  # of its own side
    if price == order.bound:
        order.ahead = displayed * QUANTITY_UNIT
    elif price == 0 or _is_beyond(order, price):
        order.ahead = 0


def line_up_front(orders: Iterable[WorkingOrder], quote: Quote) -> None:
    """Give those their place whose price the touch has come to; orders best first."""
    for order in orders:
        price = touch(quote, not order.is_buy)[0]
        if price and price != order.bound and not _is_beyond(order, price):
            return
        line_up(order, quote)


def advance(orders: Iterable[WorkingOrder], trade: Trade) -> list[Advance]:
    """Let one side's orders, best first, move up by a trade; what that executes."""
    found: list[Advance] = []
    taken = 0
    for order in orders:
        is_through = _is_beyond(order, trade.price)
        if not is_through and trade.price != order.bound:
            break
        if order.ahead is None or (is_through and not trade.sets_price):
            continue
        place = Place(order.ahead, order.reached, trade.sequence, trade.price, trade.size)
        order.ahead = 0 if is_through else max(order.ahead - trade.size * QUANTITY_UNIT, 0)
        match = match_print(order, place, taken)
        if match is None:
            continue
        if not is_through:
            taken += match.quantity
        order.reached -= match.quantity
        found.append((order, match, order.take(match), place))
    return found


def match_print(order: WorkingOrder, place: Place, taken: int) -> Match | None:
    """What a trade executes of an order with that place in line, when orders of ours that stood
    before it have `taken` so much of the trade."""
    assert order.leaves is not None
    quantity = min(order.leaves, place.reached)
    if place.trade_price == order.bound:
        free = place.trade_size * QUANTITY_UNIT - place.ahead - taken
        quantity = min(quantity, max(free, 0))
    elif not _is_beyond(order, place.trade_price):
        return None
    if quantity < order.leaves:
        quantity -= quantity % QUANTITY_UNIT  # a partial fill is whole shares
    cash = cash_of(quantity, order.bound)
    return Match(order.bound, quantity, cash, taken) if cash else None


def _is_beyond(order: WorkingOrder, price: int) -> bool:
    """Whether the price lies on the far side of the order's own: through it."""
    return price < order.bound if order.is_buy else price > order.bound
