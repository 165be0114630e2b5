"""One suite of behaviour for every bus: in-process, and over Redis where REDIS_URL names one."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings

from quotes.streaming.bus import (
    BARS,
    CONTROL,
    NUMBERED,
    Bus,
    NoRoom,
    Subscription,
    WhenFull,
    account_topic,
    bus,
    forget_bus,
    tick_topic,
)
from quotes.streaming.bus.numbers import MARK_SECONDS
from quotes.ticks import Bar, Batch, Quote, Trade
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.redis_bus

QUOTE = Quote("AAPL", 1_000_000, 1_000_000, 3, 1_000_100, 4, sequence=7, epoch=2)
TRADE = Trade("BRK.B", 1_000_001, 999, 10, sequence=8, epoch=2, conditions=("@", "I"))
BAR = Bar("AAPL", "1Min", 60, 1, 4, 1, 2, 100, 5, 2)


async def hear(subscription: Subscription, count: int) -> list[tuple[str, object]]:
    """The next `count` messages; fails when they do not arrive."""
    heard: list[tuple[str, object]] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(heard) < count:
        assert time.monotonic() < deadline, f"heard {len(heard)} of {count}"
        heard += await subscription.get_many(0.1)
    return heard


async def listening(
    bus: Bus, *topics: str, limit: int = 100, when_full: WhenFull = WhenFull.DROP_OLDEST
) -> Subscription:
    """A subscription on which all topics already flow."""
    subscription = bus.subscribe(topics, limit=limit, when_full=when_full)
    await subscription.ready(PATIENCE_SECONDS)
    subscription.missed = False
    return subscription


async def assert_slow_reader_gets_everything(publishing: Bus, reading: Bus) -> None:
    """A publisher that asks for room, and a reader with four places that takes its time."""
    reader = await listening(reading, "ticks:0", limit=4, when_full=WhenFull.BLOCK)
    total = 200

    async def publish_all() -> None:
        for number in range(total):
            await publishing.room(["ticks:0"])
            publishing.publish("ticks:0", Batch((), number, 1, number))

    publisher = asyncio.create_task(publish_all())
    heard: list[int] = []
    while len(heard) < total:
        messages = await reader.get_many(PATIENCE_SECONDS)
        assert messages, f"stuck after {len(heard)}"
        assert len(messages) <= reader.limit
        heard += [batch.number for _, batch in messages]
        await asyncio.sleep(0.001)
    await publisher

    assert heard == list(range(total))
    assert not reader.missed


class BusContract:
    """What every bus does."""

    async def test_carries_ticks_bars_and_plain_data_whole(self, bus: Bus) -> None:
        reader = await listening(bus, "ticks:0", BARS, CONTROL)
        batch = Batch((QUOTE, TRADE), watermark_us=1_000_002, epoch=2, number=5)

        bus.publish("ticks:0", batch)
        bus.publish(BARS, [BAR])
        bus.publish(CONTROL, {"kind": "halt", "instrument_id": 3})

        heard = await hear(reader, 3)
        assert heard == [
            ("ticks:0", batch),
            (BARS, [BAR]),
            (CONTROL, {"kind": "halt", "instrument_id": 3}),
        ]
        assert type(heard[0][1]) is Batch
        assert [type(tick) for tick in heard[0][1].ticks] == [Quote, Trade]
        assert type(heard[1][1][0]) is Bar

    async def test_hears_only_its_topics_as_they_change(self, bus: Bus) -> None:
        reader = await listening(bus, account_topic(1))
        reader.add([account_topic(2)])
        reader.discard([account_topic(1)])
        await reader.ready(PATIENCE_SECONDS)

        for account in (1, 2, 3):
            bus.publish(account_topic(account), {"account_sequence": account})

        assert await hear(reader, 1) == [(account_topic(2), {"account_sequence": 2})]
        assert await reader.get_many(0.1) == []

    async def test_keeps_the_order_of_each_publisher(self, bus: Bus) -> None:
        reader = await listening(bus, CONTROL, limit=10_000)

        publishers = [
            threading.Thread(target=lambda n=n: [bus.publish(CONTROL, [n, i]) for i in range(500)])
            for n in range(4)
        ]
        for publisher in publishers:
            publisher.start()
        heard = await hear(reader, 2000)

        for n in range(4):
            assert [i for _, (who, i) in heard if who == n] == list(range(500))
        assert not reader.missed

    async def test_each_reader_gets_its_own_copy_of_the_stream(self, bus: Bus) -> None:
        readers = [await listening(bus, CONTROL) for _ in range(3)]

        bus.publish(CONTROL, {"kind": "clock"})

        for reader in readers:
            assert await hear(reader, 1) == [(CONTROL, {"kind": "clock"})]

    async def test_full_mailbox_drops_the_oldest_and_says_so(self, bus: Bus) -> None:
        reader = await listening(bus, CONTROL, limit=3)
        watcher = await listening(bus, CONTROL, limit=100)

        for n in range(10):
            bus.publish(CONTROL, n)
        await hear(watcher, 10)

        assert [message for _, message in await hear(reader, 3)] == [7, 8, 9]
        assert reader.missed

    async def test_full_blocking_mailbox_refuses_and_says_so(self, bus: Bus) -> None:
        reader = await listening(bus, CONTROL, BARS, limit=2, when_full=WhenFull.BLOCK)
        watcher = await listening(bus, CONTROL, BARS, limit=100)

        for n in range(4):
            bus.publish(CONTROL, n)
        bus.publish(BARS, [BAR])
        await hear(watcher, 5)

        assert await hear(reader, 3) == [(CONTROL, 0), (CONTROL, 1), (BARS, [BAR])]
        assert reader.missed

    async def test_publisher_that_waits_for_room_loses_nothing(self, bus: Bus) -> None:
        await assert_slow_reader_gets_everything(bus, bus)

    async def test_waiting_for_room_times_out_aloud(self, bus: Bus) -> None:
        await listening(bus, "ticks:0", limit=2, when_full=WhenFull.BLOCK)

        async def publish_on() -> None:
            for number in range(10):
                await bus.room(["ticks:0"], timeout_seconds=1.0)
                bus.publish("ticks:0", Batch((), number, 1, number))

        with pytest.raises(NoRoom, match="ticks:0"):
            await publish_on()

    async def test_closed_reader_no_longer_blocks(self, bus: Bus) -> None:
        reader = await listening(bus, "ticks:0", limit=1, when_full=WhenFull.BLOCK)
        await bus.room(["ticks:0"])
        bus.publish("ticks:0", Batch((), 1, 1, 1))

        asyncio.get_running_loop().call_later(0.05, reader.close)
        await bus.room(["ticks:0"], timeout_seconds=8.0)

        assert await reader.get_many(1.0) == []

    async def test_a_reader_of_very_much_hears_its_topics_as_they_change(self, bus: Bus) -> None:
        reader = bus.subscribe_here(["ticks:0"], limit=100)
        await reader.ready(PATIENCE_SECONDS)
        reader.add([BARS])
        await reader.ready(PATIENCE_SECONDS)
        for number in range(3):
            bus.publish("ticks:0", Batch((TRADE,), 0, 1, number))
        bus.publish(BARS, [BAR])

        heard = await hear(reader, 4)
        assert [message.number for topic, message in heard if topic != BARS] == [0, 1, 2]
        assert heard[3] == (BARS, [BAR])

        reader.close()
        bus.publish(BARS, [BAR])
        assert await reader.get_many(0.1) == []

    async def test_waiting_ends_with_the_timeout(self, bus: Bus) -> None:
        reader = await listening(bus, CONTROL)
        began = time.monotonic()
        assert await reader.get_many(0.05) == []
        assert time.monotonic() - began > 0.04

    async def test_publishing_never_runs_the_reader(self, bus: Bus) -> None:
        reader = await listening(bus, CONTROL)
        reading = asyncio.create_task(reader.get_many(PATIENCE_SECONDS))
        await asyncio.sleep(0)

        bus.publish(CONTROL, "news")

        assert not reading.done()
        assert await reading == [(CONTROL, "news")]


class TestLocalBus(BusContract):
    @pytest.fixture
    async def bus(self) -> AsyncIterator[Bus]:
        bus = Bus()
        yield bus
        bus.close()

    async def test_reader_whose_loop_ended_is_let_go(self, bus: Bus) -> None:
        def subscribe_and_leave() -> None:
            async def subscribe() -> None:
                bus.subscribe([CONTROL], limit=1, when_full=WhenFull.BLOCK)

            asyncio.run(subscribe())

        thread = threading.Thread(target=subscribe_and_leave)
        thread.start()
        thread.join()

        bus.publish(CONTROL, 1)
        bus.publish(CONTROL, 2)

        await bus.room([CONTROL], timeout_seconds=0.1)


@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="NO REDIS: set REDIS_URL")
class TestRedisBus(BusContract):
    @pytest.fixture
    async def bus(self) -> AsyncIterator[Bus]:
        from quotes.streaming.bus.redis import RedisBus

        bus = RedisBus(settings.REDIS_STATE_URL, NUMBERED)
        yield bus
        bus.close()

    @pytest.fixture
    async def elsewhere(self) -> AsyncIterator[Bus]:
        """The bus of another process."""
        from quotes.streaming.bus.redis import RedisBus

        bus = RedisBus(settings.REDIS_STATE_URL, NUMBERED)
        yield bus
        bus.close()

    async def test_carries_from_process_to_process(self, bus: Bus, elsewhere: Bus) -> None:
        reader = await listening(elsewhere, CONTROL)
        bus.publish(CONTROL, {"kind": "clock"})
        assert await hear(reader, 1) == [(CONTROL, {"kind": "clock"})]

    async def test_publisher_waits_for_a_reader_elsewhere(self, bus: Bus, elsewhere: Bus) -> None:
        await assert_slow_reader_gets_everything(bus, elsewhere)

    async def test_new_topic_says_that_it_may_have_missed(self, bus: Bus) -> None:
        reader = bus.subscribe([CONTROL], limit=10)
        await reader.ready(PATIENCE_SECONDS)
        assert reader.missed

    async def test_broken_connection_is_mended_and_said(self, bus: Bus, elsewhere: Bus) -> None:
        from redis import Redis

        reader = await listening(bus, CONTROL)
        with Redis.from_url(settings.REDIS_STATE_URL) as operator:
            operator.client_kill_filter(_type="pubsub")

        assert await reader.get_many(PATIENCE_SECONDS) == []
        assert reader.missed
        elsewhere.publish(CONTROL, "after")
        assert await hear(reader, 1) == [(CONTROL, "after")]

    async def test_a_lost_message_is_missed_though_none_follows(
        self, bus: Bus, elsewhere: Bus
    ) -> None:
        reader = await listening(bus, CONTROL)
        elsewhere._said.next(CONTROL)  # type: ignore[attr-defined]  # and Redis never hears it

        assert await reader.get_many(PATIENCE_SECONDS) == []
        assert reader.missed

    async def test_a_lost_message_is_missed_when_the_next_one_comes(
        self, bus: Bus, elsewhere: Bus
    ) -> None:
        reader = await listening(bus, CONTROL)
        elsewhere.publish(CONTROL, "before")
        await hear(reader, 1)
        elsewhere._said.next(CONTROL)  # type: ignore[attr-defined]
        elsewhere.publish(CONTROL, "after")

        heard = []
        while not heard:
            heard = await reader.get_many(PATIENCE_SECONDS)
        assert heard == [(CONTROL, "after")]
        assert reader.missed

    async def test_what_all_arrives_is_never_missed(self, bus: Bus, elsewhere: Bus) -> None:
        reader = await listening(bus, CONTROL)
        for number in range(50):
            elsewhere.publish(CONTROL, number)
            bus.publish(CONTROL, number)
        await hear(reader, 100)
        await asyncio.sleep(2 * MARK_SECONDS)  # marks come, and say nothing new

        assert not reader.missed

    async def test_what_is_sent_again_is_heard_once(self, bus: Bus, elsewhere: Bus) -> None:
        """A halt that is heard again after its end would be one."""
        reader = await listening(bus, CONTROL)
        for word in ("halt", "resume"):
            elsewhere.publish(CONTROL, word)
        elsewhere._put(CONTROL, 1, "halt")  # type: ignore[attr-defined]
        elsewhere.publish(CONTROL, "last")

        assert [word for _, word in await hear(reader, 3)] == ["halt", "resume", "last"]
        assert not reader.missed

    async def test_what_is_said_on_a_broken_connection_is_said_on_the_next(
        self, bus: Bus, elsewhere: Bus
    ) -> None:
        from redis import Redis

        reader = await listening(bus, CONTROL)
        for word in ("before", "after", "again"):
            elsewhere.publish(CONTROL, word)
            assert (CONTROL, word) in await hear(reader, 1)
            with Redis.from_url(settings.REDIS_STATE_URL) as operator:
                operator.client_kill_filter(_type="normal", skipme=True)

    async def test_an_answer_that_came_while_the_process_stood_still_is_one(self) -> None:
        from redis.asyncio import Redis

        from quotes.streaming.bus.outbox import Outbox
        from quotes.streaming.bus.saying import Saying

        outbox, looks = Outbox(), []
        async with Saying(Redis.from_url(settings.REDIS_STATE_URL), outbox) as saying:
            transport, is_owed = saying._connection._writer.transport, saying._is_owed
            answers = transport.get_extra_info("socket").fileno()

            def look(seconds: float) -> bool:
                """At time that is up, with the answer there and not read."""
                looks.append(is_owed(seconds))
                if looks[-1]:
                    select.select([answers], [], [], PATIENCE_SECONDS)
                    transport.resume_reading()
                return looks[-1]

            saying._is_owed = look  # type: ignore[method-assign]
            transport.pause_reading()
            outbox.put("nobody's", b"word")
            outbox.wake()
            lasting = asyncio.create_task(saying.last(0.1))
            await until(lambda: looks[-2:] == [True, False] or lasting.done(), "both looks")
            assert not lasting.done()
            lasting.cancel()

    async def test_a_redis_that_owes_an_answer_is_left_and_told_again(self) -> None:
        from redis.asyncio import Redis
        from redis.exceptions import ConnectionError as RedisConnectionError

        from quotes.streaming.bus.outbox import Outbox
        from quotes.streaming.bus.saying import Saying

        outbox = Outbox()
        held = asyncio.Event()

        async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await held.wait()
            writer.close()

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        redis = Redis(host="127.0.0.1", port=port, protocol=2, driver_info=None)
        outbox.put("somebody's", b"word")
        with pytest.raises(RedisConnectionError, match="no answer"):
            async with Saying(redis, outbox) as saying:
                await saying.last(0.05)
        assert outbox.take() == [("somebody's", b"word")]
        held.set()
        server.close()

    async def test_a_reader_of_very_much_loses_the_oldest_and_says_so(
        self, bus: Bus, elsewhere: Bus
    ) -> None:
        reader = bus.subscribe_here([CONTROL], limit=3)
        await reader.ready(PATIENCE_SECONDS)
        reader.missed = False

        for n in range(10):
            elsewhere.publish(CONTROL, n)
        await until(lambda: reader.missed and reader._waiting[-1] == (CONTROL, 9), "the last")

        assert [message for _, message in await hear(reader, 3)] == [7, 8, 9]
        reader.close()

    async def test_a_connection_of_a_readers_own_is_mended_and_said(
        self, bus: Bus, elsewhere: Bus
    ) -> None:
        from redis import Redis

        reader = bus.subscribe_here([CONTROL], limit=10)
        await reader.ready(PATIENCE_SECONDS)
        reader.missed = False
        with Redis.from_url(settings.REDIS_STATE_URL) as operator:
            operator.client_kill_filter(_type="pubsub")

        await until(lambda: reader.missed, "word of the gap")
        elsewhere.publish(CONTROL, "after")
        assert await hear(reader, 1) == [(CONTROL, "after")]
        reader.close()


class Asked:
    """A connection on which Redis answers nothing, and takes commands while it `is_quick`."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.is_quick = asyncio.Event()
        self.is_quick.set()

    async def subscribe(self, *channels: str) -> None:
        self.commands += ["subscribe"]
        await self.is_quick.wait()

    async def unsubscribe(self, *channels: str) -> None:
        self.commands += ["unsubscribe"]

    async def ping(self) -> None:
        pass

    async def has(self, *commands: str) -> None:
        await until(lambda: self.commands == [*commands], f"{commands}, not {self.commands}")


@pytest.fixture
async def asked_ear() -> AsyncIterator[tuple[Any, Asked, Callable[[], None]]]:
    """An ear, what it asks of Redis, and Redis's answer that it is subscribed to CONTROL."""
    pytest.importorskip("redis")
    from redis.asyncio import Redis

    from quotes.streaming.bus.ear import Ear

    ear, asked = Ear(Redis(), asyncio.get_running_loop()), Asked()
    following = asyncio.create_task(ear._follow_topics(asked))
    confirmation = (b"subscribe", ear._prefix + CONTROL, b"1")
    yield ear, asked, lambda: ear._take(*confirmation)
    following.cancel()


async def test_a_topic_dropped_before_redis_confirmed_it_does_not_flow(asked_ear: Any) -> None:
    ear, asked, confirm = asked_ear
    reader = ear.subscribe([CONTROL], limit=1)
    await asked.has("subscribe")
    reader.discard([CONTROL])
    await asked.has("subscribe", "unsubscribe")
    reader.add([CONTROL])
    await asked.has("subscribe", "unsubscribe", "subscribe")

    confirm()
    assert not ear._flowing
    confirm()
    assert ear._flowing == {CONTROL}


async def test_a_topic_that_is_about_to_be_dropped_does_not_flow(asked_ear: Any) -> None:
    ear, asked, confirm = asked_ear
    reader = ear.subscribe([CONTROL], limit=1)
    await asked.has("subscribe")
    confirm()
    assert ear._flowing == {CONTROL}

    asked.is_quick.clear()
    reader.discard([CONTROL])
    reader.add([BARS])
    await asked.has("subscribe", "subscribe")
    reader.add([CONTROL])
    assert not ear._flowing
    asked.is_quick.set()
    await asked.has("subscribe", "subscribe", "unsubscribe", "subscribe")
    confirm()
    assert ear._flowing == {CONTROL}


async def test_topics_flow_only_on_a_connection_that_was_heard_of_late(asked_ear: Any) -> None:
    from quotes.streaming.bus.ear import PING_SECONDS, QUIET_SECONDS

    ear, asked, confirm = asked_ear
    ear.subscribe([CONTROL], limit=1)
    await asked.has("subscribe")
    confirm()
    link = ear._link = SimpleNamespace(heard_at=ear._loop.time() + 60)
    assert ear.is_flowing([CONTROL])
    assert not ear.is_flowing([CONTROL, BARS])

    link.heard_at = ear._loop.time() - QUIET_SECONDS
    assert not ear.is_flowing([CONTROL])
    assert QUIET_SECONDS > PING_SECONDS, "or it would be called mute for saying nothing unasked"


async def test_publishing_without_redis_neither_waits_nor_grows() -> None:
    pytest.importorskip("redis")
    from quotes.streaming.bus import outbox
    from quotes.streaming.bus.redis import RedisBus

    bus = RedisBus("redis://127.0.0.1:1/0")
    began = time.monotonic()
    for _ in range(3 * outbox.BYTES_MAX // 2**20):
        bus.publish(CONTROL, "x" * 2**20)
    assert time.monotonic() - began < 30.0
    assert bus._outbox._bytes <= outbox.BYTES_MAX
    with pytest.raises(NoRoom):
        await bus.room(["ticks:0"], timeout_seconds=0.1)
    bus.close()


def test_process_bus_follows_the_settings() -> None:
    forget_bus()
    try:
        assert (type(bus()) is Bus) == (not settings.REDIS_STATE_URL)
        assert bus() is bus()
    finally:
        forget_bus()


def test_symbol_always_has_the_same_topic() -> None:
    assert tick_topic("AAPL") == tick_topic("AAPL") == "ticks:0"
