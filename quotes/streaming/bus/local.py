"""The bus inside one process, and with it the contract that every bus keeps."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable
from typing import Any

from quotes.streaming.bus.mailbox import Subscription, WhenFull

ROOM_TIMEOUT_SECONDS = 5.0


class NoRoom(TimeoutError):
    """A blocking mailbox stayed full for as long as the publisher was ready to wait."""


class Bus:
    """Publish from any thread; each subscriber reads its own mailbox on its own loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Its tuples are replaced, never changed: a publisher reads them without a lock.
        self._readers: dict[str, tuple[Subscription, ...]] = {}
        self._waiting_for_room: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def publish(self, topic: str, message: Any) -> None:
        """Hand the message to all who hear the topic. Any thread; never blocks, never runs them."""
        self.deliver(topic, message)

    async def room(
        self, topics: Iterable[str], timeout_seconds: float = ROOM_TIMEOUT_SECONDS
    ) -> None:
        """Wait until every blocking mailbox takes one more message on each of the topics.

        NoRoom when one stays full; asking again is the publisher's decision.
        """
        topics = tuple(topics)
        if not self.full(topics):
            return
        made = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting_for_room = self._waiting_for_room | {made}
        try:
            async with asyncio.timeout(timeout_seconds):
                while self.full(topics):
                    await made[1].wait()
                    made[1].clear()
        except TimeoutError:
            raise NoRoom(f"no room on {', '.join(self.full(topics)) or topics}") from None
        finally:
            with self._lock:
                self._waiting_for_room = self._waiting_for_room - {made}

    def subscribe(
        self, topics: Iterable[str], *, limit: int, when_full: WhenFull = WhenFull.DROP_OLDEST
    ) -> Subscription:
        """A mailbox of `limit` places on these topics. Call it on the loop that will read it."""
        subscription = Subscription(self, limit=limit, when_full=when_full)
        subscription.add(topics)
        return subscription

    def subscribe_here(self, topics: Iterable[str], *, limit: int) -> Subscription:
        """As `subscribe`, for a reader of very much that loses the oldest if it is too slow.

        What comes from other processes it reads on its own loop and its own connection.
        """
        return self.subscribe(topics, limit=limit)

    def close(self) -> None:
        """Let go of every subscription."""
        with self._lock:
            self._readers = {}

    # --- for subscriptions, and for buses that carry further -----------------------------------

    def deliver(self, topic: str, message: Any) -> None:
        """Put the message into this process's mailboxes."""
        for subscription in self._readers.get(topic, ()):
            subscription.put(topic, message)

    def attach(self, subscription: Subscription, topics: Iterable[str]) -> None:
        """Deliver these topics to the subscription."""
        with self._lock:
            for topic in topics:
                self._readers[topic] = (*self._readers.get(topic, ()), subscription)

    def detach(self, subscription: Subscription, topics: Iterable[str]) -> None:
        """Deliver these topics to it no longer."""
        with self._lock:
            for topic in topics:
                readers = self._readers.get(topic, ())
                left = tuple(reader for reader in readers if reader is not subscription)
                if left:
                    self._readers[topic] = left
                else:
                    self._readers.pop(topic, None)

    def let_go(self, subscription: Subscription) -> None:
        """The subscription is closed."""

    async def flowing(self, topics: Iterable[str]) -> None:
        """Return once what is published on the topics reaches this process."""

    def is_flowing(self, topics: Iterable[str]) -> bool:
        """Whether it does, as far as is known now. Any thread."""
        return True

    def room_was_made(self) -> None:
        """Wake the publishers that wait for room. Any thread."""
        for loop, made in self._waiting_for_room:
            with contextlib.suppress(RuntimeError):  # a publisher whose loop has ended
                loop.call_soon_threadsafe(made.set)

    def full(self, topics: Iterable[str]) -> list[str]:
        """Those of the topics on which a blocking reader takes no more just now."""
        return [
            topic
            for topic in topics
            if not all(
                one.has_room(topic) or one.loop.is_closed() for one in self._readers.get(topic, ())
            )
        ]
