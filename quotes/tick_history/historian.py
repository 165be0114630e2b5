"""The thread that writes the history: slice by slice, as long as its feed owns the market."""

from __future__ import annotations

import logging
import threading
import time

from django.db import (
    Error,
    InterfaceError,
    OperationalError,
    close_old_connections,
    connection,
    transaction,
)
from prometheus_client import Counter

from events.leases import Lease, LeaseLost
from quotes.latest.rows import instrument_ids
from quotes.tick_history import store
from quotes.tick_history.backlog import DROPPED, Backlog
from quotes.tick_history.retention import Retention
from quotes.tick_history.store import Kept
from quotes.ticks import Amendment

SLICE_TICKS = 500  # some 5 ms of writing on SQLite
KEEP_SECONDS = 0.25  # ticks that come slowly are written together
FORGET_SECONDS = 60.0
RETRY_SECONDS = 1.0
LEAVE_SECONDS = 5.0  # to write what waits when the feed ends

WRITTEN = Counter("openbell_tick_history_ticks_total", "Ticks written to the history.")

log = logging.getLogger(__name__)


class Historian:
    """Writes what a backlog holds, and throws away what is too old.

    A slice that the database refuses for now is written again later, and the backlog grows; one
    that it will never take is given up and counted. A former owner of the feed writes no more.
    """

    def __init__(self, backlog: Backlog, lease: Lease, *, days: int) -> None:
        self._backlog = backlog
        self._lease = lease
        self._retention = Retention(days)
        self._forgot_at = time.monotonic()
        self._leave_by = float("inf")
        self._thread = threading.Thread(target=self._run, name="tick-history", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def leave(self) -> None:
        """Write what waits, for LEAVE_SECONDS at most; waits for it, so not on an event loop."""
        self._leave_by = time.monotonic() + LEAVE_SECONDS
        self._backlog.close()
        self._thread.join(LEAVE_SECONDS + RETRY_SECONDS)

    def _run(self) -> None:
        try:
            _spare_the_disk()
            while True:
                ticks = self._backlog.take(SLICE_TICKS, KEEP_SECONDS)
                if ticks and not self._written(ticks):
                    DROPPED.labels("failed").inc(len(ticks))
                elif not ticks and self._backlog.is_closed:
                    return
        except LeaseLost:
            log.info("the tick history is another's")  # the feed itself will hear of it
        finally:
            self._backlog.close()  # however it ended, nobody waits for it any longer
            connection.close()

    def _written(self, ticks: list[Kept]) -> bool:
        """Write a slice, however often it takes; False where that is hopeless or time is up."""
        while time.monotonic() < self._leave_by:
            try:
                self._write(ticks)
            except (OperationalError, InterfaceError) as error:
                log.warning("the tick history is written again later: %s", error)
                time.sleep(RETRY_SECONDS)
                close_old_connections()
            except Error:
                log.exception("%d ticks are not kept", len(ticks))
                return False
            else:
                return True
        return False

    def _write(self, ticks: list[Kept]) -> None:
        # When something was said of a trade is no market time, and nothing bounds it.
        printed_us = [tick.at_us for tick in ticks if not isinstance(tick, Amendment)][-1:]
        for at_us in printed_us:
            self._retention.make_room(at_us)
        ids = instrument_ids({tick.symbol for tick in ticks})
        with transaction.atomic():
            self._lease.check()
            WRITTEN.inc(store.insert(ticks, ids))
        if printed_us and time.monotonic() - self._forgot_at >= FORGET_SECONDS:
            self._retention.forget(printed_us[0], lambda: self._backlog.waiting >= SLICE_TICKS)
            self._forgot_at = time.monotonic()


def _spare_the_disk() -> None:
    """Let SQLite commit on this connection without waiting for the disk.

    What a crash of the machine may take is the last of the history; the database stays whole, and
    what others commit is on disk as ever.
    """
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = NORMAL")
