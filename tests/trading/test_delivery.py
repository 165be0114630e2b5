"""The interleavings of an account's news, its log and its listeners, one by one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from quotes.streaming.codec import JSON_IN_BINARY, unframed
from quotes.streaming.hub import Hub
from quotes.streaming.market import StoredMarket
from quotes.streaming.socket import Notices, Socket
from tests.streams import Wire, threads_of_its_own
from tests.waiting import PATIENCE_SECONDS, until
from trading import delivery
from trading.delivery import AccountUpdates, Listener, Numbered


class Log:
    """An event log that answers when it is told to."""

    def __init__(self) -> None:
        self.events: list[Numbered] = []
        self.asked: list[int] = []
        self.answers = threading.Event()
        self.answers.set()

    def write(self, *numbers: int, **more: str) -> None:
        self.events += [Numbered(number, {**update(number), **more}) for number in numbers]

    def write_long(self, *numbers: int) -> None:
        """A page of these is more than a socket takes at once."""
        self.write(*numbers, note="x" * 1_000)

    def read(self, account_id: int, since: int, limit: int) -> list[Numbered]:
        """What stood there when it was asked."""
        found = [event for event in self.events if event.number > since][:limit]
        self.asked.append(since)
        assert self.answers.wait(PATIENCE_SECONDS)
        return found


def update(number: int) -> dict[str, Any]:
    return {"event": "new", "order": {"id": number}}


def news(number: int) -> dict[str, Any]:
    return {"account_sequence": number, "update": update(number)}


class Ear(Listener):
    """A listener, and the numbers it heard."""

    def __init__(self) -> None:
        self.wire = Wire()
        notices = Notices(b"", b"", b"", heartbeat=lambda *_: b"")
        socket = Socket(self.wire, JSON_IN_BINARY, notices, close=lambda code: None)
        super().__init__(Hub(StoredMarket()), socket)
        self.updates: AccountUpdates | None = None

    def follow(self, updates: AccountUpdates) -> None:
        self.updates = updates
        updates.listeners.append(self)

    @property
    def heard(self) -> list[int]:
        messages = [orjson.loads(payload) for _, payload in unframed(self.wire.written)]
        return [message["data"]["order"]["id"] for message in messages]

    async def hears(self, *numbers: int) -> None:
        await until(lambda: len(self.heard) >= len(numbers))
        if self.updates is not None and self.updates._reading is not None:
            await asyncio.wait_for(self.updates._reading, PATIENCE_SECONDS)  # it could tell twice
        assert self.heard == list(numbers)


async def read_on(ear: Ear, replay: asyncio.Task[None]) -> None:
    """Read whatever comes until the replay is through."""

    def is_through() -> bool:
        ear.wire.drain(10**9)
        ear.socket.release()
        return replay.done()

    await until(is_through, "the replay")
    await replay


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    log = Log()
    monkeypatch.setattr(delivery, "read_events", log.read)
    with threads_of_its_own():
        yield log


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def updates(ear: Ear) -> AccountUpdates:
    updates = AccountUpdates(11)
    updates.last = 0
    ear.follow(updates)
    return updates


async def test_a_short_disorder_costs_no_query(updates: AccountUpdates, ear: Ear, log: Log) -> None:
    updates.hear(news(2))
    updates.hear(news(1))
    updates.hear(news(3))

    await ear.hears(1, 2, 3)
    assert log.asked == []


async def test_news_that_come_while_the_log_is_read_are_told_once(
    updates: AccountUpdates, ear: Ear, log: Log
) -> None:
    log.write(1, 2)
    log.answers.clear()
    updates.hear(news(2))
    await until(lambda: log.asked)

    updates.hear(news(1))
    updates.hear(news(3))
    log.answers.set()

    await ear.hears(1, 2, 3)


async def test_a_new_gap_while_the_log_is_read_is_read_too(
    updates: AccountUpdates, ear: Ear, log: Log
) -> None:
    log.write(1, 2)
    log.answers.clear()
    updates.hear(news(2))
    await until(lambda: log.asked)

    log.write(3, 4)
    updates.hear(news(4))
    log.answers.set()

    await ear.hears(1, 2, 3, 4)


async def test_news_without_a_row_neither_stop_the_reading_nor_keep_it_busy(
    updates: AccountUpdates, ear: Ear, log: Log
) -> None:
    updates.hear(news(5))
    await until(lambda: log.asked and updates._reading and updates._reading.done())
    assert len(log.asked) == 1

    log.write(1, 2, 3, 4, 5)
    updates.read_soon()

    await ear.hears(1, 2, 3, 4, 5)


async def test_live_updates_wait_until_a_replay_is_through(
    updates: AccountUpdates, ear: Ear, log: Log
) -> None:
    log.write(1, 2, 3)
    updates.last = 3
    log.answers.clear()
    replay = asyncio.create_task(updates.replay(ear, 0))
    await until(lambda: log.asked)

    log.write(4)
    updates.hear(news(4))
    log.answers.set()
    await replay
    log.write(5)
    updates.hear(news(5))

    await ear.hears(1, 2, 3, 4, 5)


async def test_a_replay_that_runs_ahead_of_the_bus_tells_nothing_twice(
    updates: AccountUpdates, ear: Ear, log: Log
) -> None:
    log.write(1, 2, 3, 4)
    updates.last = 2  # 3 and 4 are committed, and their news still on the way

    await updates.replay(ear, 0)
    updates.hear(news(3))
    updates.hear(news(4))

    await ear.hears(1, 2, 3, 4)


async def test_a_replay_goes_no_faster_than_its_reader(
    updates: AccountUpdates, ear: Ear, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind: list[bool] = []

    def read(*arguments: int) -> list[Numbered]:
        behind.append(ear.socket.holding)
        return log.read(*arguments)

    monkeypatch.setattr(delivery, "read_events", read)
    updates.last = 1_000
    log.write_long(*range(1, 1_001))
    ear.wire.room = 0
    replay = asyncio.create_task(updates.replay(ear, 0))
    await until(lambda: ear.socket.holding)

    await read_on(ear, replay)

    assert behind == [False] * 5
    assert ear.heard == list(range(1, 1_001))


async def test_what_happens_while_a_replay_waits_for_its_reader_is_told(
    updates: AccountUpdates, ear: Ear, log: Log
) -> None:
    other = Ear()
    other.follow(updates)
    updates.last = 148
    log.write_long(*range(1, 151))  # 149 and 150 are committed, and their news still on the way
    ear.wire.room = 0
    replay = asyncio.create_task(updates.replay(ear, 0))
    await until(lambda: ear.socket.holding)
    assert updates.told(ear) == 148

    updates.hear(news(149))
    updates.hear(news(150))
    await other.hears(149, 150)
    assert updates.told(ear) == 148
    await read_on(ear, replay)

    assert updates.told(ear) == 150
    assert ear.heard == list(range(1, 151))


async def test_nothing_is_told_before_the_acknowledgement(
    monkeypatch: pytest.MonkeyPatch, log: Log, ear: Ear
) -> None:
    """Events that commit between joining and the ack belong to what was before."""
    updates = AccountUpdates(11)
    ear.follow(updates)
    ear.replaying = True  # as the consumer holds it until it has said "listening"
    looking = threading.Event()
    monkeypatch.setattr(
        delivery, "newest_numbers", lambda ids: (looking.wait(PATIENCE_SECONDS), {11: 5})[1]
    )

    start = asyncio.create_task(updates.find_start())
    updates.hear(news(6))
    looking.set()
    await start
    assert updates.last == 6
    ear.replaying = False
    updates.hear(news(7))

    await ear.hears(7)
