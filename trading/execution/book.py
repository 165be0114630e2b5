"""The resting orders of a shard, by symbol: best price first, then the oldest.

A cache of the database that only the engine's thread touches; it can be thrown away and loaded
again at any moment.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from trading.execution.matching import NEVER_US, WorkingOrder

Rank = tuple[int, int]  # (price, best first; row id)


def rank(order: WorkingOrder) -> Rank:
    """Its place: a higher bound comes first among buys, a lower one among sells; then row id."""
    return (-order.bound if order.is_buy else order.bound, order.pk)


class Side:
    """The resting orders of one side of one symbol."""

    __slots__ = ("_orders", "_ranks")

    def __init__(self) -> None:
        self._ranks: list[Rank] = []
        self._orders: dict[Rank, WorkingOrder] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def __iter__(self) -> Iterator[WorkingOrder]:
        """Best first. The book must not change while somebody iterates."""
        for place in self._ranks:
            yield self._orders[place]

    def add(self, order: WorkingOrder) -> None:
        place = rank(order)
        insort(self._ranks, place)
        self._orders[place] = order

    def remove(self, order: WorkingOrder) -> None:
        place = rank(order)
        del self._orders[place]
        del self._ranks[bisect_left(self._ranks, place)]


@dataclass(slots=True)
class SymbolBook:
    """Both sides of one symbol."""

    buys: Side = field(default_factory=Side)
    sells: Side = field(default_factory=Side)

    def side(self, is_buy: bool) -> Side:
        return self.buys if is_buy else self.sells


class Book:
    """All resting orders of the shard."""

    def __init__(self) -> None:
        self._symbols: dict[str, SymbolBook] = {}
        self._orders: dict[int, WorkingOrder] = {}
        self._watched: set[int] = set()
        self._expiries: list[tuple[int, int]] = []  # a heap of (expires_us, row id)

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, pk: int) -> bool:
        return pk in self._orders

    def get(self, pk: int) -> WorkingOrder | None:
        return self._orders.get(pk)

    def orders(self) -> list[WorkingOrder]:
        """Every resting order, oldest first."""
        return [self._orders[pk] for pk in sorted(self._orders)]

    def symbols(self) -> list[str]:
        """The symbols that have resting orders, sorted."""
        return sorted(self._symbols)

    def of(self, symbol: str) -> SymbolBook | None:
        return self._symbols.get(symbol)

    def add(self, order: WorkingOrder) -> None:
        assert order.pk not in self._orders, f"order {order.pk} rests already"
        self._orders[order.pk] = order
        self._symbols.setdefault(order.symbol, SymbolBook()).side(order.is_buy).add(order)
        heappush(self._expiries, (order.expires_us, order.pk))
        self.watch(order)

    def remove(self, pk: int) -> WorkingOrder | None:
        """Take the order out; None when it does not rest here."""
        order = self._orders.pop(pk, None)
        if order is None:
            return None
        book = self._symbols[order.symbol]
        book.side(order.is_buy).remove(order)
        if not book.buys and not book.sells:
            del self._symbols[order.symbol]
        self._watched.discard(pk)
        return order

    def watch(self, order: WorkingOrder) -> None:
        """Remember, or forget, the order as one whose owner may be told why it waits."""
        if order.is_market or order.reason:
            self._watched.add(order.pk)
        else:
            self._watched.discard(order.pk)

    def watched(self) -> list[WorkingOrder]:
        """Market orders, and those that have a reason to lose; oldest first."""
        return [self._orders[pk] for pk in sorted(self._watched)]

    @property
    def expires_us(self) -> int:
        """When the next order's time is up; orders that left meanwhile count too."""
        return self._expiries[0][0] if self._expiries else NEVER_US

    def remove_expired(self, at_us: int) -> None:
        """Take out every order whose time is up."""
        while self._expiries and self._expiries[0][0] <= at_us:
            self.remove(heappop(self._expiries)[1])
