"""The bus between processes, over Redis pub/sub.

One thread with its own event loop carries: it sends what this process publishes, hears what its
subscriptions want (`ear`), and reports how far blocking readers are (`credit`). A publisher only
appends to an outbox. What a broken connection may have left unsent is sent again; readers drop
numbers that they have.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Iterable
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from quotes.streaming.bus.credit import REPEAT_SECONDS, REPORT_SECONDS, Credit, Report
from quotes.streaming.bus.ear import Ear, OwnEar
from quotes.streaming.bus.mailbox import Subscription, WhenFull
from quotes.streaming.bus.numbers import Heard, Said
from quotes.streaming.bus.outbox import Outbox
from quotes.streaming.bus.saying import Saying
from quotes.streaming.bus.wire import pack, unpack

CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 1.0
CLOSE_SECONDS = 2.0
CREDIT = "credit:"  # before a topic: where its readers report
MARKS = "marks"  # where publishers say how far they have come on numbered topics

log = logging.getLogger(__name__)


class RedisBus(Ear):
    """The contract of `Bus`, between all processes that share a Redis database."""

    def __init__(self, url: str, numbered: frozenset[str] = frozenset()) -> None:
        """On `numbered` topics a reader is told (`missed`) when a message was lost on the way."""
        redis: Redis = Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        super().__init__(redis, asyncio.new_event_loop())
        self._name = secrets.token_hex(6)
        self._credit = Credit(self._name)
        self._outbox = Outbox()
        self._numbered = numbered
        self._numbering = threading.Lock()  # so that messages wait in the order of their numbers
        self._said, self._heard = Said(), Heard()
        self._connection = 0  # counts the connections on which this process has heard
        self._last: dict[str, tuple[str, int]] = {}  # publisher and number last heard, by topic
        self._reported: dict[tuple[int, str], tuple[Report, float]] = {}
        self._carrying = self._loop.create_task(self._carry_all())
        self._thread = threading.Thread(target=self._carry, name="bus", daemon=True)
        self._thread.start()

    def publish(self, topic: str, message: Any) -> None:
        if topic in self._numbered:
            with self._numbering:
                self._put(topic, self._said.next(topic), message)
        else:
            self._put(topic, self._credit.count(topic), message)

    def _put(self, topic: str, number: int, message: Any) -> None:
        packed = pack(self._name, number, message)
        if self._outbox.put(self._prefix + topic, packed):
            self._call(self._outbox.wake)

    def subscribe_here(self, topics: Iterable[str], *, limit: int) -> Subscription:
        return OwnEar(self._redis).subscribe(topics, limit=limit)

    def close(self) -> None:
        super().close()
        self._call(self._stop)
        self._thread.join(CLOSE_SECONDS)

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
                tasks.create_task(self.hear())
                tasks.create_task(self._report())
        finally:
            await self._redis.aclose()

    def _stop(self) -> None:
        self._closing = True  # an error on the way out may hide the cancellation
        self._carrying.cancel()

    async def _send(self) -> None:
        """Carry what is published until cancelled; a connection that breaks is followed by another,
        once there is something to say."""
        while not self._closing:
            await self._outbox.filled()
            try:
                async with asyncio.timeout(ANSWER_SECONDS) as patience:
                    async with Saying(self._redis, self._outbox) as saying:
                        patience.reschedule(None)
                        await saying.last(ANSWER_SECONDS)
            except (RedisError, OSError, TimeoutError) as error:
                await self._wait_out("send", error)

    def _begin_anew(self) -> None:
        super()._begin_anew()
        self._connection += 1
        self._last, self._reported = {}, {}
        self._credit.learn_again()
        self._heard.forget()

    def _own_topics(self) -> frozenset[str]:
        reports = (CREDIT + topic for topic in self._credit.topics)
        return frozenset({f"self:{self._name}", MARKS, *reports})

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
        if topic == MARKS:
            for marked, number in message.items():
                if self._heard.mark(publisher, marked, number):
                    self._miss(marked)
            return
        if topic in self._numbered:
            if self._heard.has(publisher, topic, serial):
                return
            if self._heard.message(publisher, topic, serial):
                self._miss(topic)
        elif serial:
            self._last[topic] = (publisher, serial)
        self.deliver(topic, message)

    def _miss(self, topic: str) -> None:
        """Something that was published on the topic has not come."""
        for subscription in self._readers.get(topic, ()):
            subscription.flag_missed()

    # --- reports of blocking readers ------------------------------------------------------------

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            for topic in self._flowing:
                for subscription in self._readers.get(topic, ()):
                    if subscription.when_full is WhenFull.BLOCK:
                        self._report_reader(topic, subscription)
            self.room_was_made()  # time makes room too: silent readers are forgotten
            with self._numbering:
                marks = self._said.marks()
            if marks:
                self.publish(MARKS, marks)

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
