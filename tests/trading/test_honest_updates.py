"""Honest `/stream`: numbers, resends, and heartbeats by which a client knows that it has all."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import orjson
import pytest

from quotes.streaming import heart
from quotes.streaming import hub as hub_module
from quotes.streaming.off_loop import off_loop
from tests.people import Trader
from tests.streams import all_at_the_door
from tests.trading.update_clients import (
    AUTHORIZED,
    LISTENING,
    authenticate,
    happen,
    hears_nothing_else,
    listen,
    numbers,
    open_stream,
    orders,
    write,
)
from tests.waiting import PATIENCE_SECONDS, until
from trading import delivery

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("alone")]


@pytest.fixture(autouse=True)
def no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """None comes in between unless a test asks for it."""
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 3_600)


async def test_honest_updates_carry_their_number(app: Any, trader: Trader) -> None:
    async with open_stream(app, query="honest=1") as client:
        ack = await listen(client, trader)
        [event] = await happen(trader.account)
        update = await client.hear()

    assert ack["data"]["account_sequence"] == (event.account_sequence or 0) - 1
    assert update["data"]["account_sequence"] == event.account_sequence


async def test_since_tells_again_what_came_after_and_goes_on(app: Any, trader: Trader) -> None:
    events = await happen(trader.account, 450)
    since = numbers(events)[100]
    async with open_stream(app, query="honest=1") as client:
        await listen(client, trader, since=since)
        more = await happen(trader.account, 2)
        assert await orders(client, 351) == numbers(events)[101:] + numbers(more)
        await hears_nothing_else(client, trader.account)


async def test_since_disturbs_no_other_socket(app: Any, trader: Trader) -> None:
    events = await happen(trader.account, 5)
    async with open_stream(app) as plain, open_stream(app, query="honest=1") as honest:
        await listen(plain, trader)
        await listen(honest, trader, since=numbers(events)[0])
        assert await orders(honest, 4) == numbers(events)[1:]
        more = await happen(trader.account)
        assert await orders(plain, 1) == await orders(honest, 1) == numbers(more)
        await hears_nothing_else(plain, trader.account)


async def test_since_beyond_the_end_waits_for_what_comes(app: Any, trader: Trader) -> None:
    async with open_stream(app, query="honest=1") as client:
        await listen(client, trader, since=2**63 - 1)
        events = await happen(trader.account)
        assert await orders(client, 1) == numbers(events)


async def test_plain_clients_have_no_since(app: Any, trader: Trader) -> None:
    await happen(trader.account, 3)
    async with open_stream(app) as client:
        assert await listen(client, trader, since=0) == LISTENING
        await hears_nothing_else(client, trader.account)


async def test_honest_heartbeat_says_how_far_the_socket_is(app: Any, trader: Trader) -> None:
    async with open_stream(app, query="honest=1") as client:
        await listen(client, trader)
        [event] = await happen(trader.account)
        await client.hear()
        await hub_module.hub().beat()
        hub_module.hub().drain()
        beat, shutdown = await client.hear_many(2)

    assert beat["stream"] == "heartbeat"
    assert beat["data"]["account_sequence"] == event.account_sequence
    assert beat["data"]["sent"] == 3
    assert shutdown == {"stream": "shutdown", "data": {}}


async def test_a_heartbeat_amid_a_resend_says_how_far_the_resend_is(
    app: Any, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = await happen(trader.account, 3)
    since = numbers(events)[0]
    read, asked, answers = delivery.read_events, threading.Event(), threading.Event()

    def read_later(*arguments: Any) -> Any:
        asked.set()
        assert answers.wait(PATIENCE_SECONDS)
        return read(*arguments)

    monkeypatch.setattr(delivery, "read_events", read_later)
    async with open_stream(app, query="honest=1") as client:
        await listen(client, trader, since=since)
        await until(asked.is_set)
        await hub_module.hub().beat()
        during = await client.hear()
        answers.set()
        assert await orders(client, 2) == numbers(events)[1:]
        await hub_module.hub().beat()
        after = await client.hear()

    assert during["data"]["account_sequence"] == since
    assert after["data"]["account_sequence"] == numbers(events)[-1]


async def test_the_heartbeat_after_a_loss_tells_that_something_is_missing(
    app: Any, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last update of all, whose news the bus lost, while the log is slow to tell of it."""
    read, answers = delivery.read_events, threading.Event()

    def read_later(*arguments: Any) -> Any:
        assert answers.wait(PATIENCE_SECONDS)
        return read(*arguments)

    monkeypatch.setattr(delivery, "read_events", read_later)
    async with open_stream(app, query="honest=1") as client:
        await listen(client, trader)
        [event] = await off_loop(write, trader.account)
        await delivery.deliveries(hub_module.hub()).sweep()
        await hub_module.hub().beat()
        before = await client.hear()
        answers.set()
        assert await orders(client, 1) == numbers([event])
        await hub_module.hub().beat()
        after = await client.hear()

    number = event.account_sequence or 0
    assert (before["data"]["account_sequence"], before["data"]["newest"]) == (number - 1, number)
    assert (after["data"]["account_sequence"], after["data"]["newest"]) == (number, number)


async def test_heartbeats_tell_when_the_log_does_not_answer(
    app: Any, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the bus lost anything is not known then."""

    async def beat_until(current: bool) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            told = None
            while told != current:
                await asyncio.sleep(0.05)
                await hub_module.hub().beat()
                told = (await client.hear())["data"]["current"]

    def fail(*arguments: Any) -> Any:
        raise OSError("the database is away")

    monkeypatch.setattr(delivery, "SWEEP_SECONDS", 0.05)
    async with open_stream(app, query="honest=1") as client:
        await listen(client, trader)
        await beat_until(current=True)
        with monkeypatch.context() as away:
            away.setattr(delivery, "newest_numbers", fail)
            await beat_until(current=False)
        await beat_until(current=True)


async def test_what_is_missing_is_known_while_a_fleet_logs_in(app: Any, trader: Trader) -> None:
    async with open_stream(app, query="honest=1") as client:
        await listen(client, trader)
        [event] = await off_loop(write, trader.account)
        with all_at_the_door():
            await delivery.deliveries(hub_module.hub()).sweep()
            await hub_module.hub().beat()
            assert (await client.hear())["data"]["newest"] == event.account_sequence


async def test_whoever_listens_to_nothing_misses_nothing(app: Any, trader: Trader) -> None:
    async with open_stream(app, query="honest=1") as client:
        await client.ask(authenticate(trader))
        await hub_module.hub().beat()
        heartbeat = await client.hear()

    assert heartbeat["data"]["current"]
    assert heartbeat["data"]["newest"] is heartbeat["data"]["account_sequence"] is None


@pytest.mark.parametrize("away", ["read_events", "newest_numbers"])
async def test_a_client_that_cannot_be_told_is_sent_away(
    app: Any, trader: Trader, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    """It comes back with the same `since`; where it stayed, it would wait in vain."""

    def fail(*arguments: Any) -> Any:
        raise OSError("the database is away")

    events = await happen(trader.account, 2)
    monkeypatch.setattr(delivery, away, fail)
    async with open_stream(app, query="honest=1") as client:
        assert await client.ask(authenticate(trader)) == AUTHORIZED
        data = {"streams": ["trade_updates"], "since": numbers(events)[0]}
        client.say({"action": "listen", "data": data})
        assert await client.closed() == 4500
        await hub_module.hub().beat()

    *_, last = [orjson.loads(frame) for frame in client.frames]
    assert last == {"stream": "error", "data": {"code": 500, "error": "internal error"}}
