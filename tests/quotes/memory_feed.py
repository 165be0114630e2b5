"""A feed of ticks that a test writes down: a real one, as far as ingest can tell."""

from __future__ import annotations

from collections.abc import Iterable

from quotes.feeds.base import Feed, InstrumentSpec, Tick, tick_order
from quotes.ticks import Quote, Trade

START_US = 1_381_150_800_000_000  # 2013-10-07 09:00 New York
SECOND = 1_000_000
MINUTE = 60 * SECOND


class MemoryFeed(Feed):
    """Plays ticks from memory, each numbered as the contract says."""

    source = "memory-2013-10-07"

    def __init__(self, ticks: Iterable[Tick], end_us: int | None = None) -> None:
        self.start_us = START_US
        self.end_us = end_us
        self._ticks = sorted(ticks, key=tick_order)
        self._next = 0
        self._counts: dict[tuple[str, type], int] = {}

    def instruments(self) -> list[InstrumentSpec]:
        return [InstrumentSpec(symbol) for symbol in sorted({tick.symbol for tick in self._ticks})]

    def next_us(self) -> int | None:
        return self._ticks[self._next].at_us if self._next < len(self._ticks) else None

    def read(self, until_us: int, limit: int = 20_000) -> list[Tick]:
        ticks: list[Tick] = []
        while len(ticks) < limit and (at_us := self.next_us()) is not None and at_us <= until_us:
            ticks.append(self._numbered(self._ticks[self._next]))
            self._next += 1
        return ticks

    def _numbered(self, tick: Tick) -> Tick:
        key = (tick.symbol, type(tick))
        self._counts[key] = self._counts.get(key, 0) + 1
        return tick._replace(sequence=self._counts[key], epoch=self.epoch)


def quote(seconds: float, bid: int = 1_000_000, symbol: str = "AAPL") -> Quote:
    """A quote so many seconds after the start, one cent wide."""
    return Quote(symbol, START_US + round(seconds * SECOND), bid, 300, bid + 100, 400)


def trade(seconds: float, price: int = 1_000_000, size: int = 100, symbol: str = "AAPL") -> Trade:
    """A trade so many seconds after the start."""
    return Trade(symbol, START_US + round(seconds * SECOND), price, size)
