"""The bus between processes, over Redis pub/sub.

One thread with its own event loop carries: it sends what this process publishes, hears what its
subscriptions want, and reports how far blocking readers are (`credit`). A publisher only appends to
an outbox. Pub/sub keeps nothing: whatever was published while a topic did not flow is lost, and
every subscription to it is flagged as missed the moment it flows, at first and after each
reconnect. What a broken connection may have left unsent is sent again; readers drop numbers that
they have.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import threading
import time
from collections.abc import Iterable
from typing import Any

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from quotes.streaming.bus.credit import REPEAT_SECONDS, REPORT_SECONDS, Credit, Report
from quotes.streaming.bus.hearing import Hearing
from quotes.streaming.bus.local import Bus
from quotes.streaming.bus.mailbox import Subscription, WhenFull
from quotes.streaming.bus.outbox import Outbox
from quotes.streaming.bus.wire import pack, unpack

CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 1.0
PING_SECONDS = 1.0
SILENT_SECONDS = 3.0  # three pings without an answer: the connection is dead
RETRY_SECONDS_MAX = 1.0
CLOSE_SECONDS = 2.0
CREDIT = "credit:"  # before a topic: where its readers report

AWAY = Counter("openbell_bus_redis_away_total", "Connections to Redis that broke.", ["direction"])
log = logging.getLogger(__name__)


class RedisBus(Bus):
    """The contract of `Bus`, between all processes that share a Redis database."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._name = secrets.token_hex(6)
        self._credit = Credit(self._name)
        self._outbox = Outbox()
        self._flowing: frozenset[str] = frozenset()
        self._connection = 0  # counts the connections on which this process has heard
        self._last: dict[str, tuple[str, int]] = {}  # publisher and number last heard, by topic
        self._reported: dict[tuple[int, str], tuple[Report, float]] = {}
        self._redis: Redis = Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        database = self._redis.connection_pool.connection_kwargs.get("db") or 0
        self._prefix = f"openbell:{database}:"  # pub/sub itself knows no databases
        self._loop = asyncio.new_event_loop()
        self._carrying = self._loop.create_task(self._carry_all())
        self._closing = False
        self._topics_changed = asyncio.Event()
        self._thread = threading.Thread(target=self._carry, name="bus", daemon=True)
        self._thread.start()

    def publish(self, topic: str, message: Any) -> None:
        packed = pack(self._name, self._credit.count(topic), message)
        if self._outbox.put(self._prefix + topic, packed):
            self._call(self._outbox.wake)

    def close(self) -> None:
        super().close()
        self._call(self._stop)
        self._thread.join(CLOSE_SECONDS)

    # --- for subscriptions ----------------------------------------------------------------------

    def attach(self, subscription: Subscription, topics: Iterable[str]) -> None:
        super().attach(subscription, topics)
        self._call(self._topics_changed.set)

    def detach(self, subscription: Subscription, topics: Iterable[str]) -> None:
        super().detach(subscription, topics)
        self._call(self._topics_changed.set)

    async def flowing(self, topics: Iterable[str]) -> None:
        wanted = frozenset(topics)
        while not wanted <= self._flowing:
            await asyncio.sleep(REPORT_SECONDS)

    def full(self, topics: Iterable[str]) -> list[str]:
        topics = list(topics)
        if self._credit.watch(topics):
            self._call(self._topics_changed.set)
        heard = self._flowing
        return [
            topic
            for topic in topics
            if CREDIT + topic not in heard or not self._credit.has_room(topic)
        ]

    # --- the thread that carries ----------------------------------------------------------------

    def _carry(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._carrying)
        self._loop.close()

    async def _carry_all(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send())
                tasks.create_task(self._hear())
                tasks.create_task(self._report())
        finally:
            await self._redis.aclose()

    def _stop(self) -> None:
        self._closing = True  # an error on the way out may hide the cancellation
        self._carrying.cancel()

    def _call(self, function: Any) -> None:
        with contextlib.suppress(RuntimeError):  # closed: nobody is left to hear it
            self._loop.call_soon_threadsafe(function)

    async def _send(self) -> None:
        while not self._closing:
            messages = await self._outbox.take()
            try:
                pipeline = self._redis.pipeline(transaction=False)
                for channel, packed in messages:
                    pipeline.publish(channel, packed)
                await pipeline.execute()
            except (RedisError, OSError, TimeoutError) as error:
                self._outbox.put_back(messages)
                await self._wait_out("send", error)

    async def _hear(self) -> None:
        while not self._closing:
            try:
                async with Hearing(self._redis) as hearing, asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._follow_topics(hearing))
                    tasks.create_task(self._deliver_all(hearing))
            except* Exception as errors:  # whatever it was, the next connection may do better
                failure = errors.exceptions[0]
            self._flowing = frozenset()
            await self._wait_out("hear", failure)

    async def _wait_out(self, direction: str, error: BaseException) -> None:
        if self._closing:
            return
        AWAY.labels(direction).inc()
        log.warning("bus: Redis is away (%s: %s)", direction, error)
        await asyncio.sleep(random.uniform(0, RETRY_SECONDS_MAX))

    async def _follow_topics(self, hearing: Hearing) -> None:
        """Subscribe to what is wanted, as that changes, and keep the connection warm."""
        subscribed: frozenset[str] = frozenset()
        self._connection += 1
        self._last, self._reported = {}, {}
        self._credit.learn_again()
        while True:
            self._topics_changed.clear()
            wanted = frozenset(self._readers) | self._credit_topics() | {f"self:{self._name}"}
            if new := wanted - subscribed:
                await hearing.subscribe(*(self._prefix + topic for topic in new))
            if old := subscribed - wanted:
                self._flowing -= old
                await hearing.unsubscribe(*(self._prefix + topic for topic in old))
            subscribed = wanted
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._topics_changed.wait()
            except TimeoutError:
                await hearing.ping()

    def _credit_topics(self) -> frozenset[str]:
        return frozenset(CREDIT + topic for topic in self._credit.topics)

    async def _deliver_all(self, hearing: Hearing) -> None:
        while True:
            for kind, channel, data in await hearing.read(SILENT_SECONDS):
                topic = channel.removeprefix(self._prefix)
                if kind == b"subscribe":
                    self._begin_to_flow(topic)
                elif kind == b"message":
                    self._deliver_packed(topic, data)

    def _begin_to_flow(self, topic: str) -> None:
        for subscription in self._readers.get(topic, ()):
            subscription.flag_missed()
        self._flowing |= {topic}

    def _deliver_packed(self, topic: str, packed: bytes) -> None:
        try:
            publisher, serial, message = unpack(packed)
        except ValueError as error:
            log.error("bus: %s", error)
            return
        if topic.startswith(CREDIT):
            self._credit.note(Report(*message))
            self.room_was_made()
            return
        if serial:
            self._last[topic] = (publisher, serial)
        self.deliver(topic, message)

    # --- reports of blocking readers ------------------------------------------------------------

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            for topic in self._flowing:
                for subscription in self._readers.get(topic, ()):
                    if subscription.when_full is WhenFull.BLOCK:
                        self._report_reader(topic, subscription)
            self.room_was_made()  # time makes room too: silent readers are forgotten

    def _report_reader(self, topic: str, subscription: Subscription) -> None:
        key = (id(subscription), topic)
        publisher, serial = self._last.get(topic, ("", 0))
        report = Report(
            topic,
            f"{self._name}:{self._connection}:{key[0]}",
            publisher,
            serial - subscription.waiting_on(topic),
            subscription.limit,
        )
        last, at = self._reported.get(key, (None, 0.0))
        if report != last or time.monotonic() - at >= REPEAT_SECONDS:
            self._reported[key] = (report, time.monotonic())
            self.publish(CREDIT + topic, report)
