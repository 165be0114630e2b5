"""The stops that wait for their price, of one side of one symbol.

Sorted by the price that triggers them, so that a trade finds those it triggers by bisection, and a
quote the trailing ones it triggers or moves. A stop that is triggered leaves, and works as a market
or limit order from then on.
"""

from __future__ import annotations

from trading.execution.matching import WorkingOrder
from trading.execution.side import Rank, Side
from trading.trailing import better_mark, stop_of


def _by_stop(order: WorkingOrder) -> Rank:
    """Buys are triggered by a rising price, the lowest stop first; sells by a falling one."""
    return (order.stop if order.is_buy else -order.stop, order.pk)


def _by_mark(order: WorkingOrder) -> Rank:
    """Those with the worst mark first: they are the first that a better price moves."""
    return (-order.mark if order.is_buy else order.mark, order.pk)


class Stops:
    """Plain stops, which trades trigger, and trailing ones, which follow quotes."""

    __slots__ = ("_is_buy", "_marks", "_plain", "_trailing")

    def __init__(self, is_buy: bool) -> None:
        self._is_buy = is_buy
        self._plain = Side(_by_stop)
        self._trailing = Side(_by_stop)
        self._marks = Side(_by_mark)  # the trailing ones again

    def __len__(self) -> int:
        return len(self._plain) + len(self._trailing)

    def add(self, order: WorkingOrder) -> None:
        if order.trail is None:
            self._plain.add(order)
        else:
            self._trailing.add(order)
            self._marks.add(order)

    def remove(self, order: WorkingOrder) -> None:
        if order.trail is None:
            self._plain.remove(order)
        else:
            self._trailing.remove(order)
            self._marks.remove(order)

    def met_by_trade(self, price: int) -> list[WorkingOrder]:
        """The plain stops that a trade at this price triggers, the first one met first."""
        return self._plain.up_to(price if self._is_buy else -price)

    def met_by_quote(self, price: int) -> list[WorkingOrder]:
        """The trailing stops that a touch at this price triggers, the first one met first."""
        return self._trailing.up_to(price if self._is_buy else -price)

    def follow(self, price: int) -> list[WorkingOrder]:
        """Move the trailing stops for which a touch at this price is a new best; those moved."""
        moved = self._marks.up_to((-price if self._is_buy else price) - 1)
        for order in moved:
            self.remove(order)
            follow(order, price)
            self.add(order)
        return moved


def follow(order: WorkingOrder, price: int) -> None:
    """Move a trailing stop, that is in no book, to where a touch at this price puts it."""
    assert order.trail is not None
    order.mark = better_mark(order.mark, price, order.is_buy)
    order.stop = stop_of(order.mark, order.trail, order.is_buy)


def is_met(order: WorkingOrder, price: int) -> bool:
    """Whether this price triggers the stop."""
    return price >= order.stop if order.is_buy else price <= order.stop
