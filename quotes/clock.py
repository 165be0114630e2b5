"""Market time: the one source of "now" for everything that decides by it.

Live and simulated markets run on wall time. In a replay or a stepped market, now is the
*watermark*: the instant up to which all ticks are ingested. It travels with each batch; a process
that hears no batches reads it from the clock's row, at most `REREAD_SECONDS` old. Time never runs
backwards within one run of a market.

Moving the clock (pause, speed, jump, advance) is `quotes.market`; pacing it is `quotes.ingest`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import OperationalError

from quotes.calendar import EXCHANGE, ROUND_THE_CLOCK, Calendar, Session
from quotes.models import MarketClock
from quotes.ticks import MICROSECONDS, to_instant, to_micros

REREAD_SECONDS = 0.25
SILENT_SECONDS = 5.0  # a feed sends at least a heartbeat a second; this is five of them missed

WALL_MODES = frozenset({MarketClock.Mode.LIVE, MarketClock.Mode.SIMULATED})


@dataclass(frozen=True, slots=True)
class Run:
    """What the clock's row says, apart from the watermark."""

    mode: str = MarketClock.Mode.LIVE
    speed: float = 1.0
    paused: bool = False
    source: str = ""
    opened_us: int = 0
    fed_us: int = 0  # wall time at which the feed last wrote the row

    def is_same_market(self, other: Run) -> bool:
        return (self.source, self.opened_us) == (other.source, other.opened_us)


class Clock:
    """This process's view of market time. Every method may be called from any thread.

    Off an event loop it re-reads its row by itself; on one it goes by what it has heard, because
    a loop's thread makes no database calls.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._run = Run()
        self._watermark_us = 0
        self._wall_us = 0  # the latest wall time given out, because a wall clock may be set back
        self._read_at = self._heard_at = float("-inf")

    # --- what time it is ------------------------------------------------------------------------

    def now_us(self) -> int:
        """Market time in microseconds since the epoch."""
        if not self._run.source:
            self._reread_if_old()
        if self._run.mode in WALL_MODES:
            with self._lock:
                self._wall_us = max(self._wall_us, int(self._wall() * MICROSECONDS))
                return self._wall_us
        if not self._hears():
            self._reread_if_old()
        return self._watermark_us

    def now(self) -> datetime:
        """Market time as an aware UTC datetime."""
        return to_instant(self.now_us())

    def session(self) -> Session:
        """The session that the market is in."""
        return self.calendar.session_at(self.now())

    def is_open(self) -> bool:
        """Whether the regular session is on."""
        return self.session() is Session.REGULAR

    # --- what market it is ----------------------------------------------------------------------

    @property
    def mode(self) -> str:
        """One of `MarketClock.Mode`."""
        self._reread_if_old()
        return self._run.mode

    @property
    def speed(self) -> float:
        """Market seconds per wall second."""
        self._reread_if_old()
        return self._run.speed

    @property
    def paused(self) -> bool:
        self._reread_if_old()
        return self._run.paused

    @property
    def source(self) -> str:
        """Which recording, simulation or service: "lean-2013-10-07"; "" before one is open."""
        self._reread_if_old()
        return self._run.source

    @property
    def calendar(self) -> Calendar:
        """A simulated market trades around the clock, every other when the exchanges do."""
        if not self._run.source:
            self._reread_if_old()
        return ROUND_THE_CLOCK if self._run.source.startswith("simulated") else EXCHANGE

    # --- what it goes by ------------------------------------------------------------------------

    def observe(self, watermark_us: int) -> None:
        """Note the watermark of a batch that was heard. An older one than known changes nothing."""
        self.heard()
        self._raise(watermark_us)

    def heard(self) -> None:
        """Note that the feed is alive."""
        self._heard_at = self._monotonic()

    def feed_is_silent(self) -> bool:
        """Whether neither a batch nor the feed's own row was seen for `SILENT_SECONDS`."""
        if self._monotonic() - self._heard_at < SILENT_SECONDS:
            return False
        self._reread_if_old()
        return self._wall() - self._run.fed_us / MICROSECONDS > SILENT_SECONDS

    def refresh(self) -> None:
        """Re-read the row. A database call: never on an event loop's thread."""
        row = MarketClock.objects.filter(pk=1).first()
        self._read_at = self._monotonic()
        if row is not None:
            self.follow(row)

    def follow(self, row: MarketClock) -> None:
        """Go by what the row says. Another market than before starts a new run of time."""
        run = Run(
            mode=row.mode,
            speed=row.speed,
            paused=row.paused,
            source=row.source,
            opened_us=row.opened_us,
            fed_us=to_micros(row.updated_at),
        )
        if not run.is_same_market(self._run):
            with self._lock:
                self._watermark_us = 0
        self._run = run
        self._raise(row.watermark_us)

    def _raise(self, watermark_us: int) -> None:
        with self._lock:
            self._watermark_us = max(self._watermark_us, watermark_us)

    def _hears(self) -> bool:
        return self._monotonic() - self._heard_at < 1.0

    def _reread_if_old(self) -> None:
        if self._monotonic() - self._read_at < REREAD_SECONDS or _on_event_loop():
            return
        with contextlib.suppress(OperationalError):  # without a database the last word stands
            self.refresh()


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_clock = Clock()


def market_clock() -> Clock:
    """The process's clock; its threads share it."""
    return _clock


def forget_clock() -> None:
    """Make a new clock, that knows of no market yet."""
    global _clock
    _clock = Clock()
