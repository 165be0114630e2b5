"""The fast store in this process's memory, and with it the contract that every store keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from quotes.ticks import Place, Quote, Trade


class Latest(NamedTuple):
    """What the market last said of a symbol; None where it has said nothing yet."""

    quote: Quote | None = None
    trade: Trade | None = None


NOTHING = Latest()


class Store(Protocol):
    """Where the latest ticks are kept for everybody to read fast."""

    is_remote: bool  # putting and getting waits for a network

    def put_many(self, ticks: Iterable[Quote | Trade], place: Place | None = None) -> None:
        """Keep the newest per symbol and kind; never replace a newer one.

        `place` says that these are all the ticks up to there.
        """

    def place(self) -> Place | None:
        """The place up to which it holds what the feed has said; None where it cannot tell."""

    def get_many(self, symbols: list[str]) -> dict[str, Latest]:
        """What it holds; a symbol of which it holds nothing is left out."""

    def clear(self) -> None:
        """Forget everything."""


class LocalStore:
    """A dictionary: read without a lock, because what it holds is replaced, never changed."""

    is_remote = False

    def __init__(self) -> None:
        self._held: dict[str, Latest] = {}
        self._whole: set[str] = set()  # of these the table has no more to tell
        self._place: Place | None = None
        self._lock = threading.Lock()

    def put_many(self, ticks: Iterable[Quote | Trade], place: Place | None = None) -> None:
        quotes, trades = newest(ticks)
        with self._lock:
            for symbol, quote in quotes.items():
                held = self._held.get(symbol, NOTHING)
                if not is_older(quote, held.quote):
                    self._held[symbol] = Latest(quote, held.trade)
            for symbol, trade in trades.items():
                held = self._held.get(symbol, NOTHING)
                if not is_older(trade, held.trade):
                    self._held[symbol] = Latest(held.quote, trade)
            if place is not None and (self._place is None or place > self._place):
                self._place = place

    def place(self) -> Place | None:
        return self._place

    def get_many(self, symbols: list[str]) -> dict[str, Latest]:
        held = self._held
        return {symbol: held[symbol] for symbol in symbols if symbol in held}

    def get_whole(self, symbols: list[str]) -> dict[str, Latest]:
        """As `get_many`, but only symbols of which the table has no more to tell."""
        whole = self._whole
        return {
            symbol: known
            for symbol, known in self.get_many(symbols).items()
            if symbol in whole or None not in known
        }

    def put_loaded(self, symbols: list[str], loaded: Mapping[str, Latest]) -> dict[str, Latest]:
        """Keep what the table told of these symbols, where it is news; what is held then."""
        self.put_many(tick for latest in loaded.values() for tick in latest if tick is not None)
        found = self.get_many(symbols)
        with self._lock:
            self._whole |= found.keys()
        return found

    def clear(self) -> None:
        with self._lock:
            self._held.clear()
            self._whole.clear()
            self._place = None


def newest(ticks: Iterable[Quote | Trade]) -> tuple[dict[str, Quote], dict[str, Trade]]:
    """The last quote and the last price-setting trade per symbol."""
    quotes: dict[str, Quote] = {}
    trades: dict[str, Trade] = {}
    for tick in ticks:
        if isinstance(tick, Quote):
            quotes[tick.symbol] = tick
        elif tick.sets_price:
            trades[tick.symbol] = tick
    return quotes, trades


def is_older(tick: Quote | Trade, held: Quote | Trade | None) -> bool:
    """Whether the tick was made before the one that is held, by their ranks."""
    return held is not None and tick.rank < held.rank
