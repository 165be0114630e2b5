"""Writes what ingest has heard: the clock's row, bars and the latest quotes, as the feed's owner.

The clock comes first and alone, several times a second, because the market may not go further than
what it reserves; bars and quotes follow once a second, in slices, so that nobody who waits to write
waits long. Each transaction locks the feed's lease first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from django.db import transaction

from events import log
from events.leases import Lease
from quotes import history, latest
from quotes.bars import LATE_US, midnight
from quotes.calendar import Calendar
from quotes.latest import Latest, rows
from quotes.models import MarketClock
from quotes.ticks import MICROSECONDS, Bar, Quote, Trade, to_instant
from quotes.timeframes import BarLength

Row = TypeVar("Row")

# Some 5 ms of writing on SQLite.
ROWS_PER_TRANSACTION = 200
BARS_PER_PAGE = 10_000


class Heard:
    """What was heard and is not written yet: the newest of each, so it never grows."""

    def __init__(self) -> None:
        self.bars: dict[tuple[str, str, int], Bar] = {}
        self.quotes: dict[str, Quote] = {}
        self.trades: dict[str, Trade] = {}

    def add_bars(self, bars: Iterable[Bar]) -> None:
        """Note bars; a later one of the same interval stands for the earlier."""
        for bar in bars:
            self.bars[bar[:3]] = bar

    def put_back(self, unwritten: Heard) -> None:
        """Take back what could not be written; what was heard since is newer."""
        self.bars = unwritten.bars | self.bars
        self.quotes = unwritten.quotes | self.quotes
        self.trades = unwritten.trades | self.trades

    def latest(self) -> dict[str, Latest]:
        """The quotes and trades by symbol; one that has only one of them gets the other loaded."""
        symbols = self.quotes.keys() | self.trades.keys()
        halves = [one for one in symbols if one not in self.quotes or one not in self.trades]
        known = latest.get_many(halves, with_canceled=True)
        return {
            symbol: Latest(
                self.quotes.get(symbol) or known[symbol].quote,
                self.trades.get(symbol) or known[symbol].trade,
            )
            for symbol in symbols
        }


class Recorder:
    """The feed's hand in the database. Used from one thread that is no event loop's.

    Every method raises LeaseLost once another feed has taken over.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def begin(self, from_us: int | None = None) -> MarketClock:
        """Take over the clock's row, going on from what is reserved, or from `from_us`.

        Time that nobody was there to hear is recorded as a gap.
        """
        with transaction.atomic():
            row = self._lock_clock()
            begin_us = max(row.watermark_us, row.reserved_us if from_us is None else from_us)
            if begin_us > row.watermark_us > row.opened_us:
                log.record(
                    "quotes.feed.gap",
                    actor="feed",
                    subject="market",
                    at=to_instant(begin_us),
                    payload={
                        "epoch": self._lease.epoch,
                        "from": to_instant(row.watermark_us).isoformat(),
                        "to": to_instant(begin_us).isoformat(),
                    },
                )
            row.watermark_us = begin_us
            row.reserved_us = max(row.reserved_us, begin_us)
            self._save(row, is_live=False)
        return row

    def keep_time(self, watermark_us: int, ahead_us: int, *, is_live: bool = True) -> MarketClock:
        """Write the watermark and reserve `ahead_us` more; the row, with what operators asked.

        It is a sign of life of the market only while the feed's source can be heard.

        A jump or a step is reserved whole before it is played: a feed that dies on the way leaves
        a gap, and time never runs backwards.
        """
        with transaction.atomic():
            row = self._lock_clock()
            row.watermark_us = max(row.watermark_us, watermark_us)
            row.reserved_us = max(row.reserved_us, row.watermark_us + ahead_us, row.advance_to_us)
            self._save(row, is_live=is_live)
        return row

    def stop_at(self, watermark_us: int) -> None:
        """Give back what is reserved, so that the next start goes on without a gap.

        No sign of life: the feed's source may be away for an hour, and its quotes as old.
        """
        with transaction.atomic():
            row = self._lock_clock()
            row.watermark_us = row.reserved_us = max(row.watermark_us, watermark_us)
            self._save(row, is_live=False)

    def keep(self, heard: Heard) -> None:
        """Write bars and latest quotes; bars that were withdrawn are removed."""
        for bars in _slices(list(heard.bars.values())):
            with transaction.atomic():
                self._lease.lock_and_check()
                ids = rows.instrument_ids(bar.symbol for bar in bars)
                history.upsert_bars((bar for bar in bars if not bar.is_withdrawn), ids)
                history.remove_bars((bar for bar in bars if bar.is_withdrawn), ids)
        for known in _slices(sorted(heard.latest().items())):
            with transaction.atomic():
                self._lease.lock_and_check()
                rows.save(dict(known))

    def _lock_clock(self) -> MarketClock:
        self._lease.lock_and_check()
        return MarketClock.objects.select_for_update().get(pk=1)

    def _save(self, row: MarketClock, *, is_live: bool) -> None:
        # `updated_at` is the feed's word that it is alive; use cases leave it alone.
        row.save(
            update_fields=["watermark_us", "reserved_us", *(["updated_at"] if is_live else [])]
        )


def open_bars(symbols: Sequence[str], at_us: int, calendar: Calendar) -> list[Bar]:
    """The stored bars that may still change: those of the trading day that an instant lies in, of
    its minute, and of the minutes before that a late trade corrects."""
    day = midnight(calendar.trading_date(to_instant(at_us)))
    now, first = at_us // MICROSECONDS, (at_us - LATE_US) // MICROSECONDS - 60
    return [
        *_stored_bars(symbols, BarLength(1, "Min"), first, now),
        *_stored_bars(symbols, BarLength(1, "Day"), day, day),
    ]


def _stored_bars(symbols: Sequence[str], length: BarLength, start: int, end: int) -> Iterator[Bar]:
    """All of them, page by page."""
    page = history.BarPage([], None)
    while True:
        page = history.bars(symbols, length, start, end, limit=BARS_PER_PAGE, after=page.after)
        yield from page.bars
        if page.after is None:
            return


def _slices(rows: Sequence[Row]) -> Iterator[list[Row]]:
    remaining = iter(rows)
    while some := list(islice(remaining, ROWS_PER_TRANSACTION)):
        yield some
