"""Numbers on topics where every message matters, so that one that is lost on the way is missed.

Whoever publishes on such a topic numbers its messages, and for some seconds after each says again
how far it has come: what is lost may be the last message of all. Pure but for the clock.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MARK_SECONDS = 0.5  # between two marks
MARKED_SECONDS = 5.0  # for so long after a message
PUBLISHERS_MAX = 1_000  # that are remembered, times the topics: processes come and go

Monotonic = Callable[[], float]


class Said:
    """What this process has published on the numbered topics. Not for several threads at once."""

    def __init__(self, monotonic: Monotonic = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last: dict[str, int] = {}
        self._said_at: dict[str, float] = {}  # of those that are still marked
        self._marked_at = 0.0

    def next(self, topic: str) -> int:
        """The number of the next message on the topic, from 1."""
        self._said_at[topic] = self._monotonic()
        self._last[topic] = self._last.get(topic, 0) + 1
        return self._last[topic]

    def marks(self) -> dict[str, int]:
        """The number of the last message on each topic that is to be said again now."""
        now = self._monotonic()
        if not self._said_at or now - self._marked_at < MARK_SECONDS:
            return {}
        self._marked_at = now
        told = {topic: self._last[topic] for topic in self._said_at}
        self._said_at = {
            topic: at for topic, at in self._said_at.items() if now - at < MARKED_SECONDS
        }
        return told


class Heard:
    """The last number that was heard of each publisher on each topic."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], int] = OrderedDict()

    def has(self, publisher: str, topic: str, number: int) -> bool:
        """Whether this message was heard, or missed: it is sent again, or was overtaken. What it
        says may be over, so nobody is told."""
        return number <= self._last.get((publisher, topic), 0)

    def message(self, publisher: str, topic: str, number: int) -> bool:
        """Note a message; whether one before it was lost. What is sent again is no loss.

        Of a publisher that was not heard before nobody knows: its marks will say.
        """
        last = self._note(publisher, topic, number)
        return last is not None and number > last + 1

    def mark(self, publisher: str, topic: str, number: int) -> bool:
        """Note a mark; whether a message up to it was lost."""
        last = self._note(publisher, topic, number)
        return last is None or number > last

    def forget(self) -> None:
        """Another connection: whatever was said in between is not this one's to miss."""
        self._last.clear()

    def _note(self, publisher: str, topic: str, number: int) -> int | None:
        last = self._last.pop((publisher, topic), None)
        self._last[publisher, topic] = number if last is None else max(last, number)
        if len(self._last) > PUBLISHERS_MAX:
            self._last.popitem(last=False)
        return last
