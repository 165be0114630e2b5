"""Market data over real sockets: the official client, and clients that misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest
from alpaca.data.live import StockDataStream
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 10
AUTH = {"action": "auth", "key": "KEY", "secret": "secret"}


class Floor(NamedTuple):
    """A server, and what it counts."""

    address: str
    metrics: str

    def count(self, name: str) -> float:
        with urlopen(self.metrics, timeout=PATIENCE_SECONDS) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    async def counts(self, name: str, least: float) -> float:
        """Wait until it has counted so many; how many."""
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            while (counted := await asyncio.to_thread(self.count, name)) < least:
                await asyncio.sleep(0.05)
        return counted


@pytest.fixture(scope="module")
def floor() -> Iterator[Floor]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.quotes.stream_floor"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port, metrics = (int(process.stdout.readline()) for _ in range(2))
        yield Floor(f"ws://127.0.0.1:{port}/v2", f"http://127.0.0.1:{metrics}/metrics")
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def address(floor: Floor) -> str:
    return floor.address


async def enter(client: Any, **wanted: list[str]) -> None:
    """Authenticate and subscribe; what is heard next is data."""
    await client.send(json.dumps(AUTH))
    await client.send(json.dumps({"action": "subscribe", **wanted}))
    kinds = [json.loads(await client.recv())[0]["T"] for _ in range(3)]
    assert kinds == ["success", "success", "subscription"]


async def read_on(client: Any, messages: list[dict[str, Any]]) -> None:
    """Read until the server closes."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            messages += json.loads(await client.recv())


def test_the_official_client_hears_quotes_and_trades(address: str) -> None:
    """Traps 12 and 13: msgpack with its own timestamps, and a fragmented subscribe message."""
    heard: queue.Queue[Any] = queue.Queue()
    stream = StockDataStream("KEY", "secret", url_override=f"{address}/iex")

    async def remember(message: Any) -> None:
        heard.put(message)

    stream.subscribe_quotes(remember, "AAPL")
    stream.subscribe_trades(remember, "IBM")
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    try:
        messages = [heard.get(timeout=PATIENCE_SECONDS) for _ in range(20)]
    finally:
        stream.stop()
        thread.join(PATIENCE_SECONDS)

    quotes = [message for message in messages if hasattr(message, "bid_price")]
    trades = [message for message in messages if hasattr(message, "price")]
    assert {quote.symbol for quote in quotes} == {"AAPL"}
    assert {trade.symbol for trade in trades} == {"IBM"}
    assert (quotes[0].bid_price, quotes[0].ask_price, trades[0].price) == (49.41, 49.42, 49.415)
    numbers = [trade.id for trade in trades]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert quotes[0].timestamp.tzinfo is not None


async def test_a_reader_that_stops_reading_trades_is_told_and_dropped(floor: Floor) -> None:
    dropped = floor.count("openbell_stream_slow_clients_total")
    async with connect(f"{floor.address}/iex", max_queue=1, compression=None) as client:
        await enter(client, trades=["FLOOD"])
        await floor.counts("openbell_stream_slow_clients_total", dropped + 1)
        messages: list[dict[str, Any]] = []
        with pytest.raises(ConnectionClosed) as closed:
            await read_on(client, messages)

    numbers = [message["i"] for message in messages if message["T"] == "t"]
    last = messages[-1]
    assert last == {"T": "error", "code": 407, "msg": "slow client"}
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4407
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_a_slow_reader_of_quotes_sees_fewer_and_then_the_newest(floor: Floor) -> None:
    before = floor.count("openbell_stream_quotes_conflated_total")
    slow_connection = connect(
        f"{floor.address}/iex?honest=1", max_queue=1, compression=None, close_timeout=0.1
    )
    async with slow_connection as slow:
        await enter(slow, quotes=["FLOOD"])
        counted = await floor.counts("openbell_stream_quotes_conflated_total", before + 1_000)
        numbers: list[int] = []
        last: dict[str, Any] | None = None
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            while last is None:
                for message in json.loads(await slow.recv()):
                    if message["T"] == "q":
                        numbers.append(message["seq"])
                    # The first heartbeats may still be of the time before it was slow.
                    unseen = numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0
                    is_beat = message["T"] == "heartbeat" and message["quotes"]
                    if is_beat and unseen >= counted - before:  # it heard newer ones in their place
                        last = message

    assert numbers == sorted(set(numbers))
    assert last["quotes"]["FLOOD"][1] == numbers[-1]


async def test_many_sockets_hear_the_same_without_a_gap(address: str) -> None:
    async def listen() -> list[int]:
        async with connect(f"{address}/sip", compression=None, close_timeout=0.1) as client:
            await enter(client, trades=["AAPL"])
            messages: list[dict[str, Any]] = []
            while len(messages) < 30:  # a busy server gathers several in one frame
                messages += json.loads(await client.recv())
            return [message["i"] for message in messages]

    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        heard = await asyncio.gather(*(listen() for _ in range(40)))

    for numbers in heard:
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
