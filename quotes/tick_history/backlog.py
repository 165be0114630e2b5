"""What is published and not written yet: bounded, with a policy for when it is full.

A market on wall time waits for nobody: what finds no place is not kept, and counted. A replay or a
stepped market waits for room, as it does for every reader, so that its history has no holes.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from prometheus_client import Counter, Gauge

from quotes.streaming.bus import NoRoom
from quotes.tick_history.store import Kept

PLACES = 100_000  # ticks: some 30 MB, and five seconds of a whole recorded day in a minute
POLL_SECONDS = 0.002  # of a feed that waits for room

DROPPED = Counter(
    "openbell_tick_history_dropped_total", "Ticks that are missing in the history, by reason.",
    ["reason"],
)  # fmt: skip
WAITING = Gauge(
    "openbell_tick_history_waiting_ticks",
    "Ticks published and not yet written to the history.",
    multiprocess_mode="livemax",
)


class Backlog:
    """A queue of batches between the loop that publishes and the thread that writes."""

    def __init__(self, *, waits: bool, places: int = PLACES) -> None:
        """`waits`: the feed asks for room first, so nothing is dropped."""
        self._waits = waits
        self._places = places
        self._batches: deque[list[Kept]] = deque()
        self._waiting = 0
        self._wanted = 0  # by the writer: it need not be woken for less
        self._closed = False
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """How many ticks wait to be written."""
        return self._waiting

    @property
    def is_closed(self) -> bool:
        return self._closed

    def offer(self, ticks: list[Kept]) -> None:
        """Leave a batch to be written; never waits."""
        with self._changed:
            if self._closed or (not self._waits and self._waiting + len(ticks) > self._places):
                DROPPED.labels("closed" if self._closed else "full").inc(len(ticks))
                return
            self._batches.append(ticks)
            self._waiting += len(ticks)
            if self._waiting >= self._wanted:
                self._changed.notify()

    async def room(self, timeout_seconds: float) -> None:
        """Wait until another batch may be left; NoRoom when it takes too long."""
        if not self._waits:
            return
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._waiting >= self._places and not self._closed:
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise NoRoom("no room in the tick history") from None

    def take(self, most: int, timeout_seconds: float) -> list[Kept]:
        """The oldest ticks in order, whole batches until there are `most`; [] when none came.

        Waits for as many, until the time is up or the backlog is closed.
        """
        with self._changed:
            self._wanted = most
            self._changed.wait_for(
                lambda: self._waiting >= most or self._closed, timeout=timeout_seconds
            )
            ticks: list[Kept] = []
            while self._batches and len(ticks) < most:
                ticks += self._batches.popleft()
            self._waiting -= len(ticks)
        WAITING.set(self._waiting)
        return ticks

    def close(self) -> None:
        """Take no more; what waits can still be taken. Nobody waits for room any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
