"""One reader's bounded mailbox: any thread puts messages in, one event loop takes them out."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Any, Protocol

from prometheus_client import Counter

MESSAGES_DROPPED = Counter(
    "openbell_bus_messages_dropped_total", "Messages that found a mailbox full.", ["kind"]
)


class WhenFull(Enum):
    """What becomes of a message for which there is no place; either way `missed` is set."""

    # Each topic has `limit` places of its own. A publisher who waits for room never finds them
    # taken; the message of one who does not wait is refused.
    BLOCK = "block"
    # The mailbox has `limit` places; the oldest message makes room for the new one.
    DROP_OLDEST = "drop_oldest"


class Carrier(Protocol):
    """What a subscription asks of the bus that fills it."""

    def attach(self, subscription: Subscription, topics: Iterable[str]) -> None: ...

    def detach(self, subscription: Subscription, topics: Iterable[str]) -> None: ...

    def let_go(self, subscription: Subscription) -> None: ...

    async def flowing(self, topics: Iterable[str]) -> None: ...

    def is_flowing(self, topics: Iterable[str]) -> bool: ...

    def room_was_made(self) -> None: ...


class Subscription:
    """What one reader hears, in the order it was published.

    Made by `Bus.subscribe` on the loop that reads it; every method but `put` and `flag_missed` is
    called there. `missed` tells that something was lost: the reader clears it, then resyncs.
    """

    def __init__(self, bus: Carrier, *, limit: int, when_full: WhenFull) -> None:
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.limit = limit
        self.when_full = when_full
        self.missed = False
        self.closed = False
        self._just_flagged = False
        self.topics: frozenset[str] = frozenset()
        self._bus = bus
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, Any]] = deque()
        self._per_topic: Tally[str] = Tally()  # of one that blocks
        self._signalled = False  # a wake-up is on its way: one is enough for many messages
        self._wake = asyncio.Event()

    async def get_many(self, timeout: float | None) -> list[tuple[str, Any]]:
        """All (topic, message) that wait; waits for the first. [] after `timeout` seconds.

        Also returns [] when the subscription is closed or has just been flagged as `missed`.
        """
        taken = self._take()
        if taken or self.closed or self._flagged():
            return taken
        try:
            async with asyncio.timeout(timeout):
                while not (taken or self.closed or self._flagged()):
                    self._wake.clear()
                    taken = self._take()
                    if not taken:
                        await self._wake.wait()
        except TimeoutError:
            pass
        return taken

    def add(self, topics: Iterable[str]) -> None:
        """Hear these topics too."""
        new = frozenset(topics) - self.topics
        if new and not self.closed:
            self.topics |= new
            self._bus.attach(self, new)

    def discard(self, topics: Iterable[str]) -> None:
        """Hear these topics no longer; what already waits stays."""
        old = frozenset(topics) & self.topics
        if old:
            self.topics -= old
            self._bus.detach(self, old)

    def close(self) -> None:
        """Hear nothing more and wake a reader that waits. Twice is harmless."""
        self.closed = True
        self.discard(self.topics)
        with self._lock:
            self._waiting.clear()
            self._per_topic.clear()
        self._wake_reader()
        self._bus.room_was_made()
        self._bus.let_go(self)

    async def ready(self, timeout: float) -> None:
        """Return once all topics flow; TimeoutError. At once in-process, a round trip on Redis."""
        async with asyncio.timeout(timeout):
            await self._bus.flowing(self.topics)

    def is_sure_of(self, topics: Iterable[str]) -> bool:
        """Whether all that is published on these topics of ours arrives, and none was `missed`."""
        # In this order: a topic is flagged as missed before it flows again.
        return self._bus.is_flowing(self.topics & frozenset(topics)) and not self.missed

    # --- the publisher's side, any thread -----------------------------------------------------

    def put(self, topic: str, message: Any) -> None:
        """Add a message, or lose one as `when_full` says. Never blocks."""
        with self._lock:
            # A topic that is full has at least `limit` messages here: most are judged by this.
            is_full = len(self._waiting) >= self.limit and self._is_full(topic)
            lost = self._lose_one(topic) if is_full else ""
            if self.when_full is WhenFull.DROP_OLDEST:
                self._waiting.append((topic, message))
            elif not lost:
                self._waiting.append((topic, message))
                self._per_topic[topic] += 1
            wake, self._signalled = not self._signalled, True
        if lost:
            MESSAGES_DROPPED.labels(lost.partition(":")[0]).inc()
        if wake:
            self._wake_reader()

    def flag_missed(self) -> None:
        """Tell the reader that messages were lost on the way, and wake it."""
        self.missed = True
        self._just_flagged = True
        self._wake_reader()

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._waiting)

    def waiting_on(self, topic: str) -> int:
        """How many messages of the topic wait, where each has its own places."""
        return self._per_topic[topic]

    def has_room(self, topic: str) -> bool:
        """Whether one more message of the topic is taken in; one that drops always has room."""
        return self.when_full is WhenFull.DROP_OLDEST or self._per_topic[topic] < self.limit

    # --- inside -------------------------------------------------------------------------------

    def _is_full(self, topic: str) -> bool:
        if self.when_full is WhenFull.BLOCK:
            return not self.has_room(topic)
        return len(self._waiting) >= self.limit

    def _lose_one(self, topic: str) -> str:
        """Flag a loss and make it; returns the topic of the message that is lost."""
        self.missed = True
        if self.when_full is WhenFull.BLOCK:
            return topic
        oldest, _ = self._waiting.popleft()
        return oldest

    def _flagged(self) -> bool:
        flagged, self._just_flagged = self._just_flagged, False
        return flagged and self.missed

    def _take(self) -> list[tuple[str, Any]]:
        with self._lock:
            self._signalled = False
            if not self._waiting:
                return []
            taken = list(self._waiting)
            self._waiting.clear()
            self._per_topic.clear()
        self._bus.room_was_made()
        return taken

    def _wake_reader(self) -> None:
        if threading.get_ident() == self._thread and self.loop.is_running():
            self._wake.set()
            return
        try:
            self.loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:  # the loop has ended without closing its subscription
            self._bus.detach(self, self.topics)
            self.topics, self.closed = frozenset(), True
