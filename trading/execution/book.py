"""The resting orders and waiting stops of a shard, by symbol: best price first, then the oldest.

A cache of the database that only the engine's thread touches; it can be thrown away and loaded
again at any moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush

from trading.execution.matching import NEVER_US, WorkingOrder
from trading.execution.side import Side
from trading.execution.stops import Stops


@dataclass(slots=True)
class SymbolBook:
    """Both sides of one symbol, and the stops that wait beside them."""

    buys: Side = field(default_factory=Side)
    sells: Side = field(default_factory=Side)
    buy_stops: Stops = field(default_factory=lambda: Stops(True))
    sell_stops: Stops = field(default_factory=lambda: Stops(False))

    def __bool__(self) -> bool:
        return bool(self.buys or self.sells or self.buy_stops or self.sell_stops)

    def side(self, is_buy: bool) -> Side:
        return self.buys if is_buy else self.sells

    def stops(self, is_buy: bool) -> Stops:
        return self.buy_stops if is_buy else self.sell_stops

    def home(self, order: WorkingOrder) -> Side | Stops:
        """Where the order is kept as it is now."""
        return self.stops(order.is_buy) if order.stop else self.side(order.is_buy)


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
        self._symbols.setdefault(order.symbol, SymbolBook()).home(order).add(order)
        self.expect_expiry(order)
        self.watch(order)

    def remove(self, pk: int) -> WorkingOrder | None:
        """Take the order out; None when it does not rest here."""
        order = self._orders.pop(pk, None)
        if order is None:
            return None
        book = self._symbols[order.symbol]
        book.home(order).remove(order)
        if not book:
            del self._symbols[order.symbol]
        self._watched.discard(pk)
        return order

    def watch(self, order: WorkingOrder) -> None:
        """Remember, or forget, the order as one whose owner may be told why it waits."""
        if (order.is_market and not order.stop) or order.reason:
            self._watched.add(order.pk)
        else:
            self._watched.discard(order.pk)

    def watched(self) -> list[WorkingOrder]:
        """Market orders, and those that have a reason to lose; oldest first."""
        return [self._orders[pk] for pk in sorted(self._watched)]

    def expect_expiry(self, order: WorkingOrder) -> None:
        """Count the order in `expires_us`, also one that does not rest here."""
        heappush(self._expiries, (order.expires_us, order.pk))

    @property
    def expires_us(self) -> int:
        """When the next order's time is up; orders that left meanwhile count too."""
        return self._expiries[0][0] if self._expiries else NEVER_US

    def remove_expired(self, at_us: int) -> None:
        """Take out every order whose time is up."""
        while self._expiries and self._expiries[0][0] <= at_us:
            self.remove(heappop(self._expiries)[1])
