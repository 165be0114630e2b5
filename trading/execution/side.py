"""Orders of one side of one symbol, sorted."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator

from trading.execution.matching import WorkingOrder

Rank = tuple[int, int]  # (price, best first; row id)


def rank(order: WorkingOrder) -> Rank:
    """Its place: a higher bound comes first among buys, a lower one among sells; then row id."""
    return (-order.bound if order.is_buy else order.bound, order.pk)


class Side:
    """Orders by rank. What an order's rank follows from must not change while it is in here."""

    __slots__ = ("_orders", "_rank", "_ranks")

    def __init__(self, rank: Callable[[WorkingOrder], Rank] = rank) -> None:
        self._rank = rank
        self._ranks: list[Rank] = []
        self._orders: dict[Rank, WorkingOrder] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def __iter__(self) -> Iterator[WorkingOrder]:
        """Best first. The side must not change while somebody iterates."""
        for place in self._ranks:
            yield self._orders[place]

    def add(self, order: WorkingOrder) -> None:
        place = self._rank(order)
        insort(self._ranks, place)
        self._orders[place] = order

    def remove(self, order: WorkingOrder) -> None:
        place = self._rank(order)
        del self._orders[place]
        del self._ranks[bisect_left(self._ranks, place)]

    def up_to(self, price: int) -> list[WorkingOrder]:
        """The orders whose rank has that price or a better one, best first."""
        end = bisect_left(self._ranks, (price + 1, 0))
        return [self._orders[place] for place in self._ranks[:end]]
