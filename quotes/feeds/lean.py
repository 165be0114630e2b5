"""Replays one recorded day from a LEAN data folder.

Each instrument is read at the finest resolution it was recorded in, quotes and trades apart: SPY in
the folder that Openbell is tried with has trade ticks but no quote ticks, so its quotes are those
of its second bars, and each says so in `Quote.resolution`. What rows mean is in `lean_ticks.py`.

The files stream: of each a chunk of some thousand rows is in memory. Merging goes by slices of
time: whatever all files have read past is taken at once and sorted by a stable sort, which finds
the ordered runs that the files are. That makes a day of two million rows a matter of seconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import date
from operator import itemgetter
from pathlib import Path

from quotes.bars import midnight
from quotes.calendar import EXCHANGE
from quotes.feeds.base import READ_LIMIT, Feed, FeedError, InstrumentSpec, Tick
from quotes.feeds.lean_files import LeanFolder
from quotes.feeds.lean_ticks import READERS, ticks_of
from quotes.feeds.listings import describe
from quotes.ticks import MICROSECONDS, to_micros

NEVER_US = 2**63 - 1
_at_us = itemgetter(1)  # both Quote and Trade have their instant there


class _Track:
    """The ticks of one file that are read but not merged yet."""

    def __init__(self, chunks: Iterator[list[Tick]]) -> None:
        self._chunks = chunks
        self._ticks: list[Tick] = []
        self.complete_us = 0  # all ticks before this instant are here
        self.read_on()

    def read_on(self) -> None:
        """Read until at least one more instant is complete."""
        reached_us = self.complete_us
        while self.complete_us == reached_us:
            ticks = next(self._chunks, None)
            if ticks is None:
                self.complete_us = NEVER_US
                return
            self._ticks += ticks
            if self._ticks:
                # Rows of the last instant may go on in the next chunk.
                self.complete_us = max(reached_us, self._ticks[-1].at_us)

    def take_before(self, at_us: int) -> list[Tick]:
        end = bisect_left(self._ticks, at_us, key=_at_us)
        taken, self._ticks = self._ticks[:end], self._ticks[end:]
        return taken


class LeanFeed(Feed):
    """The day `on` of the LEAN folder, of the given symbols or of all it holds.

    FeedError, naming what is missing, when the folder has nothing of that day or not a symbol that
    was asked for.
    """

    def __init__(self, folder: Path | str, on: date, symbols: Sequence[str] | None = None) -> None:
        self._folder = LeanFolder(folder)
        self._on = on
        day = EXCHANGE.day(on)
        if day is None:
            raise FeedError(f"{on} was not a trading day")
        self.source = f"lean-{on}"
        self.start_us = to_micros(day.pre_at)
        self.end_us = (midnight(on) + 86_400) * MICROSECONDS
        self._files = self._find_files(symbols)
        self._tracks: list[_Track] | None = None  # opened by the first read
        self._merged: list[Tick] = []
        self._next = 0  # index in `_merged`

    def instruments(self) -> list[InstrumentSpec]:
        return [describe(symbol) for symbol in sorted({symbol for symbol, *_ in self._files})]

    def next_us(self) -> int | None:
        return self._merged[self._next].at_us if self._has_next() else None

    def read(self, until_us: int, limit: int = READ_LIMIT) -> list[Tick]:
        ticks: list[Tick] = []
        while len(ticks) < limit and self._has_next():
            end = bisect_right(self._merged, until_us, lo=self._next, key=_at_us)
            end = min(end, self._next + limit - len(ticks))
            if end == self._next:
                break
            ticks += self._merged[self._next : end]
            self._next = end
        return ticks

    def close(self) -> None:
        self._tracks, self._merged, self._next = [], [], 0

    def _find_files(self, symbols: Sequence[str] | None) -> list[tuple[str, str, str, Path]]:
        """Symbol, kind, resolution and path of each file, in the order of ticks at one instant."""
        wanted = sorted(set(map(str.upper, symbols or self._folder.symbols(self._on))))
        if not wanted:
            raise FeedError(f"{self._folder.equity} has no quotes and no trades of {self._on}")
        files = []
        for symbol in wanted:
            for kind in ("quote", "trade"):
                if found := self._folder.finest(symbol, self._on, kind):
                    files.append((symbol, kind, *found))
                elif symbols:
                    missing = self._folder.file("minute", symbol, self._on, kind)
                    raise FeedError(f"{missing} does not exist, nor one of seconds or ticks")
        return files

    def _open(self) -> list[_Track]:
        return [
            _Track(
                ticks_of(path, kind, READERS[kind, resolution](
                    symbol, self._on, resolution, self.epoch
                ))
            )
            for symbol, kind, resolution, path in self._files
        ]  # fmt: skip

    def _has_next(self) -> bool:
        """See that the next tick is merged, if there is one."""
        if self._tracks is None:
            self._tracks = self._open()
        while self._next == len(self._merged):
            complete_us = min((track.complete_us for track in self._tracks), default=NEVER_US)
            self._merged = [
                tick for track in self._tracks for tick in track.take_before(complete_us)
            ]
            self._merged.sort(key=_at_us)
            self._next = 0
            if complete_us == NEVER_US:
                return bool(self._merged)
            for track in self._tracks:
                if track.complete_us == complete_us:
                    track.read_on()
        return True
