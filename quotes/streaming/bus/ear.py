"""The hearing half of a bus over Redis: what arrives is delivered where it is read.

An `Ear` hears on one event loop. `RedisBus` is one, on a thread of its own; an `OwnEar` belongs to
a single subscription and hears on that reader's loop, for whom a thread that hands over every
message would cost as much as its work.

Pub/sub keeps nothing: whatever was published while a topic did not flow is lost, and every
subscription to it is flagged as missed the moment it flows, at first and after each reconnect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter as Tally
from collections.abc import Iterable
from typing import Any

from prometheus_client import Counter
from redis.asyncio import Redis

from quotes.streaming.bus.hearing import Hearing
from quotes.streaming.bus.local import Bus
from quotes.streaming.bus.mailbox import Subscription
from quotes.streaming.bus.wire import unpack

FLOWING_POLL_SECONDS = 0.02
PING_SECONDS = 1.0
QUIET_SECONDS = 2.0  # longer than a ping and its answer take: the connection may be mute
SILENT_SECONDS = 3.0  # three pings without an answer: the connection is dead
RETRY_SECONDS_MAX = 1.0

AWAY = Counter("openbell_bus_redis_away_total", "Connections to Redis that broke.", ["direction"])
log = logging.getLogger(__name__)


class Ear(Bus):
    """Hears the topics of its subscriptions; `hear` runs on `loop`."""

    def __init__(self, redis: Redis, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._redis = redis
        database = redis.connection_pool.connection_kwargs.get("db") or 0
        self._prefix = f"openbell:{database}:"  # pub/sub itself knows no databases
        self._loop = loop
        self._flowing: frozenset[str] = frozenset()
        self._subscribed: frozenset[str] = frozenset()
        self._unconfirmed: Tally[str] = Tally()  # subscriptions that Redis has not answered
        self._closing = False
        self._topics_changed = asyncio.Event()
        self._link: Hearing | None = None  # the connection on which topics flow

    def attach(self, subscription: Subscription, topics: Iterable[str]) -> None:
        super().attach(subscription, topics)
        self._call(self._topics_changed.set)

    def detach(self, subscription: Subscription, topics: Iterable[str]) -> None:
        super().detach(subscription, topics)
        self._call(self._topics_changed.set)

    async def flowing(self, topics: Iterable[str]) -> None:
        wanted = frozenset(topics)
        while not wanted <= self._flowing:
            await asyncio.sleep(FLOWING_POLL_SECONDS)

    def is_flowing(self, topics: Iterable[str]) -> bool:
        link = self._link
        is_mute = link is None or self._loop.time() - link.heard_at > QUIET_SECONDS
        return not is_mute and self._flowing.issuperset(topics)

    # --- on the loop that hears -----------------------------------------------------------------

    async def hear(self) -> None:
        """Hear until cancelled; a connection that breaks is followed by another."""
        while not self._closing:
            try:
                async with (
                    Hearing(self._redis, self._take) as hearing,
                    asyncio.TaskGroup() as tasks,
                ):
                    self._begin_anew()
                    self._link = hearing
                    tasks.create_task(self._follow_topics(hearing))
                    tasks.create_task(hearing.last(SILENT_SECONDS))
            except* Exception as errors:  # whatever it was, the next connection may do better
                failure = errors.exceptions[0]
            self._flowing = frozenset()
            await self._wait_out("hear", failure)

    def _begin_anew(self) -> None:
        """A new connection has nothing to do with the one before."""
        self._subscribed = frozenset()
        self._unconfirmed.clear()

    def _own_topics(self) -> frozenset[str]:
        """What is heard without a subscription."""
        return frozenset()

    def _deliver_packed(self, topic: str, packed: bytes) -> None:
        try:
            _, _, message = unpack(packed)
        except ValueError as error:
            log.error("bus: %s", error)
            return
        self.deliver(topic, message)

    def _take(self, kind: bytes, channel: str, content: bytes) -> None:
        topic = channel.removeprefix(self._prefix)
        if kind == b"message":
            self._deliver_packed(topic, content)
        elif kind == b"subscribe":
            self._confirm(topic)

    def _confirm(self, topic: str) -> None:
        """Redis carries the topic, unless it was told otherwise since."""
        self._unconfirmed[topic] -= 1
        if self._unconfirmed[topic] <= 0:
            del self._unconfirmed[topic]
            if topic in self._subscribed:
                for subscription in self._readers.get(topic, ()):
                    subscription.flag_missed()
                self._flowing |= {topic}

    async def _follow_topics(self, hearing: Hearing) -> None:
        """Subscribe to what is wanted, as that changes, and keep the connection warm."""
        while True:
            self._topics_changed.clear()
            new, old = self._settle_topics()
            if new:
                await hearing.subscribe(*(self._prefix + topic for topic in new))
            if old:
                await hearing.unsubscribe(*(self._prefix + topic for topic in old))
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._topics_changed.wait()
            except TimeoutError:
                await hearing.ping()

    def _settle_topics(self) -> tuple[frozenset[str], frozenset[str]]:
        """What to subscribe to and what to drop. A topic flows no more from this moment on: whoever
        attaches to it while Redis is told so waits until it is told otherwise."""
        own = self._own_topics()
        with self._lock:
            had, wanted = self._subscribed, own | frozenset(self._readers)
            self._subscribed = wanted
            self._flowing -= had - wanted
        self._unconfirmed.update(wanted - had)
        return wanted - had, had - wanted

    async def _wait_out(self, direction: str, error: BaseException) -> None:
        if self._closing:
            return
        AWAY.labels(direction).inc()
        log.warning("bus: Redis is away (%s: %s)", direction, error)
        await asyncio.sleep(random.uniform(0, RETRY_SECONDS_MAX))

    def _call(self, function: Any) -> None:
        with contextlib.suppress(RuntimeError):  # closed: nobody is left to hear it
            self._loop.call_soon_threadsafe(function)


class OwnEar(Ear):
    """The ear of one subscription, on the running loop, until that is closed."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis, asyncio.get_running_loop())
        self._hearing = self._loop.create_task(self.hear())

    def let_go(self, subscription: Subscription) -> None:
        self._closing = True  # an error on the way out may hide the cancellation
        self._call(self._hearing.cancel)
