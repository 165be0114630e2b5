"""The rows of LEAN files as quotes and trades.

**Quote ticks** are the NBBO, each change written as two rows at one instant: the bid, then the ask,
each with the exchange that stands there and zeros for the other side. So a bid row and the ask row
that follows it at the same instant are one quote. The rows of AIG, BAC and IBM of 2013-10-07
alternate so without exception but for the first of each file, an ask without a bid: a quote with
one side. Joined this way, 95 of 539,683 quotes of AIG in regular hours, none of 236,126 of BAC and
42 of 53,999 of IBM are crossed (0.02, 0 and 0.08 %), for milliseconds; 2.6, 1.8 and 0.6 % are
locked. Read row by row, the book would pass through a state that never stood at every change. The
side of a suspicious row is left empty.

**Quote bars** become one quote at the end of their interval, of the closing bid and ask: before
that nobody could have known it.

**Trade bars**, where there are no trade ticks, become up to four trades: open, low, high, close; of
a falling bar open, high, low, close. They are spread evenly over the interval and share its volume,
so that the bars built from them are the bars they came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from quotes.bars import midnight
from quotes.calendar import EXCHANGE
from quotes.feeds.base import FeedError, Tick
from quotes.feeds.conditions import auction_of, meaning
from quotes.feeds.lean_files import lines_of
from quotes.feeds.listings import listed_on
from quotes.ticks import CLOSE, MICROSECONDS, OPEN, Quote, Trade, to_micros

PERIOD_US = {"second": MICROSECONDS, "minute": 60 * MICROSECONDS}
NEVER_US = 2**63 - 1
EMPTY = ("0", "0", "")  # price, size and exchange of a side on which nobody stands


class RowReader:
    """Turns the rows of one file into ticks, remembering where it is.

    `row` is the number of the last row read, for the sentence about a broken one.
    """

    def __init__(self, symbol: str, on: date, resolution: str, epoch: int) -> None:
        self.symbol = symbol
        self.midnight_us = midnight(on) * MICROSECONDS
        self.resolution = resolution
        self.epoch = epoch
        self.row = 0
        self.sequence = 0
        self.last_us = 0

    def read(self, lines: list[str]) -> list[Tick]:
        """The ticks of the next rows; ValueError for a row that is broken or out of order."""
        raise NotImplementedError

    def finish(self) -> list[Tick]:
        """What the end of the file makes certain."""
        return []

    def instant(self, milliseconds: str) -> int:
        """Milliseconds since midnight New York, whole or with a fraction, in microseconds."""
        if milliseconds.isdigit():
            at_us = self.midnight_us + int(milliseconds) * 1000
        else:
            at_us = self.midnight_us + round(float(milliseconds) * 1000)
        if at_us < self.last_us:
            raise ValueError("the row goes back in time")
        self.last_us = at_us
        return at_us


class QuoteTicks(RowReader):
    """Joins a bid row and the ask row that follows it at the same instant."""

    waiting: tuple[int, tuple[str, str, str]] | None = None  # a bid row, and when

    def read(self, lines: list[str]) -> list[Tick]:
        quotes: list[Tick] = []
        for line in lines:
            self.row += 1
            at, bid, bid_size, ask, ask_size, exchange, _, suspicious = line.split(",")
            at_us = self.instant(at)
            trusted = suspicious != "1"
            bid_side = (bid, bid_size, exchange) if trusted and bid != "0" else EMPTY
            if ask == "0" and bid != "0":
                quotes += self.finish()
                self.waiting = at_us, bid_side
                continue
            if self.waiting and bid == "0" and self.waiting[0] == at_us:
                bid_side = self.waiting[1]
                self.waiting = None
            elif self.waiting:
                quotes += self.finish()
            quotes.append(
                self.quote(at_us, bid_side, (ask, ask_size, exchange) if trusted else EMPTY)
            )
        return quotes

    def finish(self) -> list[Tick]:
        if self.waiting is None:
            return []
        (at_us, bid), self.waiting = self.waiting, None
        return [self.quote(at_us, bid, EMPTY)]

    def quote(self, at_us: int, bid: tuple[str, str, str], ask: tuple[str, str, str]) -> Quote:
        self.sequence += 1
        return Quote(
            self.symbol, at_us, int(bid[0]), int(bid[1]), int(ask[0]), int(ask[1]),
            self.sequence, self.epoch, 0, bid[2], ask[2],
        )  # fmt: skip


class TradeTicks(RowReader):
    """One row, one trade; its condition decides what it counts for.

    Each exchange holds auctions of its own. The official ones are those of the listing exchange; of
    a symbol whose listing is not known, whichever prints first.
    """

    def __init__(self, symbol: str, on: date, resolution: str, epoch: int) -> None:
        super().__init__(symbol, on, resolution, epoch)
        self.listed_on = listed_on(symbol)

    def read(self, lines: list[str]) -> list[Tick]:
        trades: list[Tick] = []
        for line in lines:
            self.row += 1
            at, price, size, exchange, condition, suspicious = line.split(",")
            letters, sets_price, counts_volume = meaning(condition, suspicious == "1")
            auction = auction_of(condition) if exchange == (self.listed_on or exchange) else ""
            self.sequence += 1
            trades.append(
                Trade(
                    self.symbol, self.instant(at), int(price), int(size), self.sequence,
                    self.epoch, 0, exchange, letters, sets_price, counts_volume,
                    auction if suspicious != "1" else "",
                )
            )  # fmt: skip
        return trades


class QuoteBars(RowReader):
    """One row, one quote at its end."""

    def read(self, lines: list[str]) -> list[Tick]:
        quotes: list[Tick] = []
        for line in lines:
            self.row += 1
            at, _, _, _, bid, bid_size, _, _, _, ask, ask_size = line.split(",")
            self.sequence += 1
            quotes.append(
                Quote(
                    self.symbol, self.instant(at) + PERIOD_US[self.resolution],
                    int(bid or 0), int(bid_size or 0), int(ask or 0), int(ask_size or 0),
                    self.sequence, self.epoch, resolution=self.resolution,
                )
            )  # fmt: skip
        return quotes


class TradeBars(RowReader):
    """One row, up to four trades that have its open, high, low, close and volume.

    The makers of the data move the auctions into the first and the last bar of the session, so the
    first price there is the opening auction's, and the last one the closing auction's.
    """

    def __init__(self, symbol: str, on: date, resolution: str, epoch: int) -> None:
        super().__init__(symbol, on, resolution, epoch)
        day = EXCHANGE.day(on)
        self.open_us = NEVER_US if day is None else to_micros(day.open_at)
        self.close_us = NEVER_US if day is None else to_micros(day.close_at)
        self.opened = False

    def read(self, lines: list[str]) -> list[Tick]:
        trades: list[Tick] = []
        for line in lines:
            self.row += 1
            at, *prices, volume = line.split(",")
            open_, high, low, close = map(int, prices)
            at_us = self.instant(at)
            prints = list(self.prints(at_us, open_, high, low, close, int(volume)))
            self.mark_auctions(at_us, prints)
            trades += prints
        return trades

    def mark_auctions(self, at_us: int, prints: list[Trade]) -> None:
        if not self.opened and self.open_us <= at_us < self.close_us:
            self.opened = True
            prints[0] = prints[0]._replace(auction=OPEN)
        if at_us < self.close_us <= at_us + PERIOD_US[self.resolution]:
            prints[-1] = prints[-1]._replace(auction=CLOSE)

    def prints(
        self, at_us: int, open_: int, high: int, low: int, close: int, volume: int
    ) -> Iterator[Trade]:
        turns = (low, high) if close >= open_ else (high, low)
        # Only the turns that open and close do not make themselves, and as there are shares.
        path = [open_, *(price for price in turns if price not in (open_, close)), close]
        del path[max(volume, 1) :]
        step_us = PERIOD_US[self.resolution] // len(path)
        for n, price in enumerate(path):
            self.sequence += 1
            size = volume // len(path) + (n < volume % len(path))
            yield Trade(self.symbol, at_us + n * step_us, price, size, self.sequence, self.epoch)


READERS = {
    ("quote", "tick"): QuoteTicks,
    ("trade", "tick"): TradeTicks,
    ("quote", "second"): QuoteBars,
    ("quote", "minute"): QuoteBars,
    ("trade", "second"): TradeBars,
    ("trade", "minute"): TradeBars,
}


def ticks_of(path: Path, kind: str, reader: RowReader) -> Iterator[list[Tick]]:
    """The ticks of a file, chunk by chunk, in order; FeedError names a broken file and row."""
    for lines in lines_of(path):
        try:
            yield reader.read(lines)
        except ValueError as error:
            raise FeedError(f"{path}, row {reader.row} is no {kind}: {error}") from error
    yield reader.finish()
