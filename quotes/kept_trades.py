"""The trades of the last hours, for bars to be made anew when one of them is amended, and for the
last price to be found anew. Pure.

Bounded: where there are too many, the oldest minutes are let go. What is amended later than that
changes no bar. Of each symbol the last few prices that were let go are remembered: what trades once
an hour would have no price left where its last one is canceled.
"""

from __future__ import annotations

from collections.abc import Iterator

from quotes.ticks import Amendment, Trade

# Some 80 MB with the bars they are in: twice as many as a feed remembers by name, so that whatever
# is matched to its trade (`quotes/feeds/tape.py`) finds it here too.
KEPT_MAX = 100_000
PRICES_MAX = 8  # of a symbol, beyond the minutes that are kept

Number = tuple[int, int]  # epoch and sequence of a print


class KeptTrades:
    """By the minute they belong to, which is named by its start in microseconds."""

    def __init__(self, most: int = KEPT_MAX) -> None:
        self._most = most
        self._minutes: dict[int, dict[str, dict[Number, Trade]]] = {}
        self._count = 0
        self._from = 0  # minutes that start earlier are not kept
        self._prices: dict[str, dict[Number, Trade]] = {}  # the last of those that are not kept

    def add(self, start: int, trade: Trade) -> bool:
        """Keep a trade; False where its minute was let go."""
        if start < self._from:
            self.remember(trade)
            return False
        number = trade.epoch, trade.sequence
        self._minutes.setdefault(start, {}).setdefault(trade.symbol, {})[number] = trade
        self._count += 1
        return True

    def amend(self, start: int, amendment: Amendment) -> bool:
        """Let the trade be what it is now, in the place of its print; False where it is not kept.

        What counts in no bar is not kept, and a trade may come to count, or no longer.
        """
        was, now, number = amendment.original, amendment.as_print(), amendment.number
        trades = self._minutes.get(start, {}).get(was.symbol, {})
        if start < self._from or (was.counts_volume and number not in trades):
            self._amend_price(was.symbol, number, now)
            return False
        printed = trades.pop(number, None)
        if printed is not None:
            self._count -= 1
        if now is not None and now.counts_volume:
            received_us = printed.received_us if printed else now.received_us
            self.add(start, now._replace(received_us=received_us))
        return True

    def remember(self, trade: Trade) -> None:
        """Know of a price that is not kept, instead of the oldest of its symbol."""
        if not trade.sets_price:
            return
        prices = self._prices.setdefault(trade.symbol, {})
        prices[trade.epoch, trade.sequence] = trade
        if len(prices) > PRICES_MAX:
            del prices[min(prices)]

    def newest_price(self, symbol: str) -> Trade | None:
        """The last trade of the symbol that sets the price, as the trades are by now."""
        prices = self._prices.get(symbol, {}).values()
        known = [*prices, *(trade for trade in self.all_of(symbol) if trade.sets_price)]
        return max(known, key=_number, default=None)

    def _amend_price(self, symbol: str, number: Number, now: Trade | None) -> None:
        was = self._prices.get(symbol, {}).pop(number, None)
        if was is not None and now is not None:
            self.remember(now._replace(received_us=was.received_us))

    def of(self, start: int, symbol: str) -> list[Trade]:
        """The trades of a symbol in a minute."""
        return list(self._minutes.get(start, {}).get(symbol, {}).values())

    def all_of(self, symbol: str) -> Iterator[Trade]:
        """The trades of a symbol in every minute that is kept."""
        for start in self._minutes:
            yield from self.of(start, symbol)

    def let_go(self, before: int) -> Iterator[Trade]:
        """Let go the minutes that start before, and the oldest while there are too many trades.

        What was in them.
        """
        self._from = max(self._from, before)
        while self._minutes:
            oldest = min(self._minutes)
            if oldest >= self._from and self._count <= self._most:
                return
            self._from = max(self._from, oldest + 1)
            for trades in self._minutes.pop(oldest).values():
                self._count -= len(trades)
                for trade in trades.values():
                    self.remember(trade)
                    yield trade

    def keeps(self, start: int) -> bool:
        """Whether the minute was not let go."""
        return start >= self._from


def _number(trade: Trade) -> Number:
    return trade.epoch, trade.sequence
