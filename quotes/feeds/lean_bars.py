"""The trade bars of LEAN files: daily and minute history, as traded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from quotes.bars import DAY, MINUTE, midnight
from quotes.feeds.base import FeedError
from quotes.feeds.lean_files import lines_of, parse_date
from quotes.ticks import Bar


def daily_bars(path: Path, symbol: str) -> Iterator[list[Bar]]:
    """The bars of a daily file, chunk by chunk; each starts at midnight New York."""
    return _bars(path, symbol, DAY, None)


def minute_bars(path: Path, symbol: str, on: date) -> Iterator[list[Bar]]:
    """The bars of a minute file."""
    return _bars(path, symbol, MINUTE, midnight(on))


def _bars(
    path: Path, symbol: str, timeframe: str, midnight_seconds: int | None
) -> Iterator[list[Bar]]:
    row = 0
    for lines in lines_of(path):
        bars = []
        for line in lines:
            row += 1
            try:
                at, *numbers = line.split(",")
                open_, high, low, close, volume = map(int, numbers)
                if midnight_seconds is None:
                    start = midnight(parse_date(at, path))
                else:
                    start = midnight_seconds + int(at) // 1000
            except ValueError as error:
                raise FeedError(f"{path}, row {row} is no bar: {error}") from error
            if not (low <= min(open_, close) and max(open_, close) <= high and volume >= 0):
                raise FeedError(f"{path}, row {row} is no bar: its prices are out of order")
            bars.append(Bar(symbol, timeframe, start, open_, high, low, close, volume))
        yield bars
