"""What one user's honest sockets may be told costs the others of a process little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quotes.latest import Latest
from quotes.streaming import consumers, heart, limits
from quotes.streaming.consumers import MarketDataConsumer
from tests.quotes.hub_readers import Store, hub_on
from tests.streams import (
    Client,
    Doorman,
    Someone,
    connected,
    enter,
    quote,
    threads_of_its_own,
    trade,
)

LISTED = [f"S{n}" for n in range(10)]
RESYNC = {"action": "resync"}
ALL = {"action": "subscribe", "quotes": ["*"]}
HONEST = "honest=1"


@pytest.fixture(autouse=True)
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A market of ten symbols, nobody who was told anything, and no heartbeat in between."""
    monkeypatch.setattr(consumers, "_allowances", limits.Allowances())
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 1_000)
    store = Store()
    store.holds = {name: Latest(quote(name), trade(name)) for name in LISTED}
    with threads_of_its_own():
        async with hub_on(store) as hub:
            monkeypatch.setattr(consumers, "hub", lambda: hub)
            yield store


@pytest.fixture
def app() -> Any:
    keys = {("KEY", "secret"): Someone(), ("OTHER", "secret"): Someone(2, 22, "OTHER")}
    return MarketDataConsumer.as_asgi(authenticate=Doorman(keys))


async def all_snapshots(client: Client, message: Any) -> None:
    """Ask, and hear where each symbol stands."""
    client.say(message)
    told: set[str] = set()
    while told < set(LISTED):
        [heard] = await client.hear()
        assert heard["T"] in ("snapshot", "subscription")
        if heard["T"] == "snapshot":
            told.add(heard["S"])


async def subscribe_to_all(client: Client) -> None:
    await all_snapshots(client, ALL)


async def test_whoever_asks_for_everything_in_a_loop_waits_for_each_answer(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOLD_BURST", 20)
    monkeypatch.setattr(limits, "TOLD_PER_SECOND", 100.0)
    loop = asyncio.get_running_loop()
    async with connected(app, query=HONEST) as client:
        await enter(client)
        await subscribe_to_all(client)
        began = loop.time()
        for _ in range(3):
            await all_snapshots(client, RESYNC)
            client.say({"action": "unsubscribe", "quotes": ["*"]})
            await client.hear()
            await subscribe_to_all(client)

        assert loop.time() - began >= (6 * len(LISTED) - 20) / 100
        assert client.close_code is None


async def test_429_for_whom_it_would_keep_waiting_too_long_on_every_socket(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOLD_BURST", 20)
    monkeypatch.setattr(limits, "TOLD_PER_SECOND", 0.01)
    async with connected(app, query=HONEST) as first, connected(app, query=HONEST) as second:
        await enter(first)
        await enter(second)
        await subscribe_to_all(first)  # how many that are is known from now on
        await all_snapshots(first, RESYNC)
        await subscribe_to_all(second)
        async with connected(app, query=HONEST) as other:
            await enter(other, "OTHER")
            await subscribe_to_all(other)
        [ack] = await second.ask({"action": "unsubscribe", "quotes": ["*"]})
        assert ack["quotes"] == []

        for client, message in ((first, RESYNC), (second, {**ALL, "quotes": ["S1"]})):
            [refused] = await client.ask(message)
            assert (refused["code"], refused["msg"]) == (429, "too many messages")
            assert await client.closed() == 4429


async def test_a_plain_subscription_counts_by_its_names_and_giving_it_up_by_none(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOLD_BURST", 2 * len(LISTED))
    monkeypatch.setattr(limits, "TOLD_PER_SECOND", 0.01)
    async with connected(app) as client:
        await enter(client)
        for _ in range(2 * limits.NAMES_PER_SNAPSHOT):
            await client.ask({"action": "subscribe", "quotes": LISTED})
            [ack] = await client.ask({"action": "unsubscribe", "quotes": LISTED})
            assert ack["quotes"] == []
        [refused] = await client.ask({"action": "subscribe", "quotes": LISTED})
        assert refused["code"] == 429


def test_a_client_that_repeats_itself_for_each_symbol_it_adds_need_not_wait() -> None:
    """alpaca-py does."""
    allowances = limits.Allowances()

    for names in range(limits.MESSAGES_BURST):
        assert allowances.wait_for(1, names // limits.NAMES_PER_SNAPSHOT, now=0) == 0
