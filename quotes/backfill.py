"""Give a market its past: generated for the simulated market, imported for a recorded one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from pathlib import Path

from django.conf import settings
from django.db import transaction

from quotes.bars import midnight
from quotes.feeds.base import FeedError
from quotes.feeds.lean_bars import daily_bars, minute_bars
from quotes.feeds.lean_files import LeanFolder
from quotes.feeds.listings import LISTINGS, describe
from quotes.feeds.simulated import SimulatedFeed
from quotes.feeds.simulated_history import simulated_history
from quotes.history import (
    ROWS_PER_TRANSACTION,
    ROWS_PER_TRANSACTION_ALONE,
    enlist,
    upsert_bars,
)
from quotes.latest import Latest, rows
from quotes.models import Bar as StoredBar
from quotes.ticks import Bar, to_micros

Progress = Callable[[int, int], None]  # instruments done, instruments in all


def _silent(done: int, total: int) -> None:
    """Tell nobody."""


def fill_past(until: datetime, progress: Progress = _silent) -> int:
    """Give the configured market its past, once; how many bars it took.

    A database that has bars is left alone. Of a recorded market, the days before the recorded one
    of the instruments it trades. A live one has only what it hears.
    """
    if settings.FEED == "alpaca" or StoredBar.objects.exists():
        return 0
    if settings.FEED == "simulated":
        written = generate_history(settings.FEED_SEED, until, progress)
        _save_opening_quotes(settings.FEED_SEED, until)
        return written
    lean, on = LeanFolder(settings.FEED_DATA), date.fromisoformat(settings.FEED_DATE)
    symbols = lean.daily_files().keys() & set(lean.symbols(on))
    return import_lean(settings.FEED_DATA, symbols, until=on, progress=progress)


def _save_opening_quotes(seed: int, at: datetime) -> None:
    """Let every instrument have a quote from the first moment on."""
    quotes = SimulatedFeed(seed, to_micros(at)).opening_quotes()
    with transaction.atomic():
        rows.save({quote.symbol: Latest(quote, None) for quote in quotes})


def generate_history(
    seed: int, until: datetime, progress: Progress = _silent, *, alone: bool = True
) -> int:
    """Write the simulated market's year of days and week of minutes; how many bars.

    Ends with the last whole minute before `until`, where the live market of that seed goes on.
    Repeating it changes nothing. `alone` says that nobody else is writing yet.
    """
    ids = enlist(listing.spec for listing in LISTINGS)
    rows = ROWS_PER_TRANSACTION_ALONE if alone else ROWS_PER_TRANSACTION
    written = 0
    for done, bars in enumerate(simulated_history(seed, until), start=1):
        written += upsert_bars(bars, ids, rows_per_transaction=rows)
        progress(done, len(LISTINGS))
    return written


def import_lean(
    folder: Path | str,
    symbols: Iterable[str] | None = None,
    *,
    resolution: str = "daily",
    until: date | None = None,
    progress: Progress = _silent,
) -> int:
    """Write the daily or minute history of a LEAN folder, as traded; how many bars.

    All symbols that the folder has, or those given; only days before `until`, so that a replayed
    day does not show its own end. Repeating it changes nothing. FeedError names a file that is
    missing or broken; what was written before it stays.
    """
    lean = LeanFolder(folder)
    files = dict.fromkeys(_symbols_in(lean, resolution))
    wanted = sorted(files if symbols is None else {symbol.upper() for symbol in symbols})
    for symbol in wanted:
        if symbol not in files:
            raise FeedError(f"{lean.equity / resolution} has no {resolution} bars of {symbol}")
    ids = enlist(map(describe, wanted))
    end = midnight(until) if until else None
    written = 0
    for done, symbol in enumerate(wanted, start=1):
        bars = _lean_bars(lean, symbol, resolution)
        kept = (bar for bar in bars if end is None or bar.start < end)
        written += upsert_bars(kept, ids)
        progress(done, len(wanted))
    return written


def _symbols_in(lean: LeanFolder, resolution: str) -> Iterable[str]:
    return lean.daily_files() if resolution == "daily" else lean.minute_symbols()


def _lean_bars(lean: LeanFolder, symbol: str, resolution: str) -> Iterator[Bar]:
    if resolution == "daily":
        chunks = daily_bars(lean.daily_files()[symbol], symbol)
        for bars in chunks:
            yield from bars
        return
    for on, path in lean.minute_files(symbol).items():
        for bars in minute_bars(path, symbol, on):
            yield from bars
