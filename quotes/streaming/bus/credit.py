"""How a publisher knows whether blocking readers in other processes have room.

A reader reports how far it has taken a topic: at once when that changes, and regularly. The
publisher counts what it sends, and has room while no reader is `limit` messages behind. A reader
that falls silent is forgotten: it is gone, and nobody waits for the dead. A reader that reconnects
is a new one, because it has lost what was sent meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

REPORT_SECONDS = 0.02  # the shortest time between two reports of one reader
REPEAT_SECONDS = 0.5  # the longest
SILENT_SECONDS = 2.0
LEARN_SECONDS = 0.6  # after this a publisher has heard of every reader there is


class Report(NamedTuple):
    """A reader's word: of `publisher`'s messages on the topic it has taken those up to `taken`."""

    topic: str
    reader: str
    publisher: str  # "" while it has heard none
    taken: int
    limit: int


@dataclass(slots=True)
class _Reader:
    taken: int
    limit: int
    heard_at: float


@dataclass(slots=True)
class _Topic:
    learning_since: float
    sent: int = 0
    readers: dict[str, _Reader] = field(default_factory=dict)


class Credit:
    """One publisher's account of its readers, on the topics whose room it asks for."""

    def __init__(self, publisher: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._publisher = publisher
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._topics: dict[str, _Topic] = {}

    @property
    def topics(self) -> frozenset[str]:
        """The topics that are counted."""
        with self._lock:
            return frozenset(self._topics)

    def watch(self, topics: Iterable[str]) -> list[str]:
        """Count these topics from now on; those that are new."""
        with self._lock:
            new = [topic for topic in topics if topic not in self._topics]
            for topic in new:
                self._topics[topic] = _Topic(self._monotonic())
        return new

    def learn_again(self) -> None:
        """The reports of the last moments are lost: have room again once the readers are known."""
        with self._lock:
            for counted in self._topics.values():
                counted.learning_since = self._monotonic()

    def count(self, topic: str) -> int:
        """The number of the next message on the topic; 0 where nobody counts."""
        with self._lock:
            counted = self._topics.get(topic)
            if counted is None:
                return 0
            counted.sent += 1
            return counted.sent

    def note(self, report: Report) -> None:
        """Believe a reader."""
        with self._lock:
            counted = self._topics.get(report.topic)
            if counted is None:
                return
            reader = counted.readers.get(report.reader)
            if reader is None:
                reader = counted.readers[report.reader] = _Reader(counted.sent, 0, 0.0)
            if report.publisher == self._publisher:
                reader.taken = report.taken
            reader.limit, reader.heard_at = report.limit, self._monotonic()

    def has_room(self, topic: str) -> bool:
        """Whether every known reader takes one more message."""
        now = self._monotonic()
        with self._lock:
            counted = self._topics[topic]
            counted.readers = {
                name: reader
                for name, reader in counted.readers.items()
                if now - reader.heard_at < SILENT_SECONDS
            }
            return now - counted.learning_since >= LEARN_SECONDS and all(
                counted.sent - reader.taken < reader.limit for reader in counted.readers.values()
            )
