"""Market data over real sockets: the official client, and clients that misbehave."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.request import urlopen

import pytest
from alpaca.data.live import StockDataStream
from alpaca.data.models import (
    Bar,
    Quote,
    Trade,
    TradeCancel,
    TradeCorrection,
    TradingStatus,
)
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from quotes.feeds.alpaca import AlpacaFeed
from quotes.feeds.base import Tick
from quotes.feeds.upstream import Upstream
from quotes.streaming.frames import CLOSING_SECONDS_MAX, REVOKED_SECONDS_MAX
from quotes.streaming.watch import SWEEP_SECONDS
from quotes.ticks import Amendment
from quotes.ticks import Trade as PrintedTrade
from tests.official_client import running
from tests.quotes.floor_process import FloorProcess, floor_process
from tests.quotes.raw_client import (
    AUTH,
    CONTINUES,
    FINAL,
    PATIENCE_SECONDS,
    PING,
    PONG,
    TEXT,
    frame,
    hear,
    is_cut,
    masked,
    open_socket,
    stall,
)


class Floor(FloorProcess):
    """A server, and what it counts."""

    def tell(self, **news: Any) -> None:
        """Have it publish control news."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(news) + "\n")
        self.process.stdin.flush()

    def count(self, name: str) -> float:
        metrics = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urlopen(metrics, timeout=PATIENCE_SECONDS) as answer:
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
    with floor_process() as started:
        yield Floor(*started)


@pytest.fixture
def address(floor: Floor) -> str:
    return floor.address


async def enter(client: Any, **wanted: list[str]) -> None:
    """Authenticate and subscribe; what is heard next is data."""
    await client.send(json.dumps(AUTH))
    await client.send(json.dumps({"action": "subscribe", **wanted}))
    kinds: list[str] = []
    while len(kinds) < 3:
        kind = json.loads(await client.recv())[0]["T"]
        kinds += [kind] if kind != "heartbeat" else []  # which may come at any time
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
    with running(stream):
        messages = [heard.get(timeout=PATIENCE_SECONDS) for _ in range(20)]

    quotes = [message for message in messages if isinstance(message, Quote)]
    trades = [message for message in messages if isinstance(message, Trade)]
    assert {quote.symbol for quote in quotes} == {"AAPL"}
    assert {trade.symbol for trade in trades} == {"IBM"}
    assert (quotes[0].bid_price, quotes[0].ask_price, trades[0].price) == (49.41, 49.42, 49.415)
    numbers = [trade.id for trade in trades]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert quotes[0].timestamp.tzinfo is not None


def test_the_official_client_understands_all_other_channels(address: str) -> None:
    heard: dict[str, queue.Queue[Any]] = {}
    stream = StockDataStream("KEY", "secret", url_override=f"{address}/iex")

    def remember(channel: str) -> Any:
        messages = heard.setdefault(channel, queue.Queue())

        async def put(message: Any) -> None:
            messages.put(message)

        return put

    stream.subscribe_trades(remember("trades"), "MSFT")
    stream.register_trade_corrections(remember("corrections"))
    stream.register_trade_cancels(remember("cancels"))
    stream.subscribe_bars(remember("bars"), "MSFT")
    stream.subscribe_updated_bars(remember("updated bars"), "*")
    stream.subscribe_daily_bars(remember("daily bars"), "MSFT")
    stream.subscribe_trading_statuses(remember("statuses"), "*")
    with running(stream):
        of = {
            channel: [messages.get(timeout=PATIENCE_SECONDS) for _ in range(4)]
            for channel, messages in heard.items()
        }

    assert {each.symbol for messages in of.values() for each in messages} == {"MSFT"}
    assert {channel: {*map(type, messages)} for channel, messages in of.items()} == {
        "trades": {Trade},
        "corrections": {TradeCorrection},
        "cancels": {TradeCancel},
        "bars": {Bar},
        "updated bars": {Bar},
        "daily bars": {Bar},
        "statuses": {TradingStatus},
    }
    assert_amended(of["trades"], of["corrections"], of["cancels"])
    minutes = [each.timestamp for each in of["bars"]]
    assert minutes == sorted(set(minutes))
    assert len({each.timestamp + timedelta(minutes=1) for each in of["updated bars"]} & {*minutes})
    assert {(each.open, each.close, each.volume) for each in of["bars"]} == {(49.41, 49.42, 1_000)}
    assert {each.volume for each in of["updated bars"]} == {900}
    halts = [(each.status_code, each.reason_message) for each in of["statuses"]]
    assert halts in ([("H", "news"), ("T", "")] * 2, [("T", ""), ("H", "news")] * 2)


def assert_amended(trades: list[Any], corrections: list[Any], cancels: list[Any]) -> None:
    """Every other trade is corrected, the others are canceled."""
    corrected = [each.original_id for each in corrections]
    canceled = [each.id for each in cancels]
    assert sorted(each.id in corrected for each in trades) == [False, False, True, True]
    assert all((each.id in corrected) != (each.id in canceled) for each in trades)
    prices = {(each.original_price, each.corrected_price) for each in corrections}
    assert prices == {(49.415, 49.4)}
    assert {(each.price, each.size, each.action) for each in cancels} == {(49.415, 100, "E")}


async def test_another_openbell_is_fed_everything(floor: Floor) -> None:
    """Trades without a gap and each in its place, what became of them, and halts."""
    feed = AlpacaFeed(Upstream(f"{floor.address}/iex", "KEY", "secret"), ["AAPL", "MSFT"])
    ticks: list[Tick] = []
    amendments: list[Amendment] = []
    halts: list[tuple[bool, str]] = []
    told = {(True, "news"), (False, "Trading Resumption")}
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(amendments) < 4 or not told <= {*halts}:
                ticks += feed.read(2**62)
                amendments += feed.take_amendments()
                halts += feed.take_halts().values()
                await asyncio.sleep(0.001)
            assert feed.is_live()
    finally:
        feed.close()

    for symbol in ("AAPL", "MSFT"):
        of_symbol = [each for each in ticks if each.symbol == symbol]
        trades = [each for each in of_symbol if isinstance(each, PrintedTrade)]
        assert [each.sequence for each in trades] == list(range(1, len(trades) + 1))
    printed = {each.sequence: each for each in trades}
    for each in amendments:
        assert each.original == printed[each.original.sequence]
        assert each.corrected is None or each.corrected.price == 494_000
    assert {each.corrected is None for each in amendments} == {True, False}
    assert {*halts} <= told | {(True, ""), (False, "")}  # a snapshot knows no reason


def test_a_message_may_come_in_pieces_with_a_ping_between_them(floor: Floor) -> None:
    """RFC 6455, 5.4: control frames may be injected in the middle of a fragmented message."""
    client = open_socket(floor.port)
    hear(client, b"connected")
    client.sendall(masked(AUTH))
    hear(client, b"authenticated")
    said = json.dumps({"action": "subscribe", "quotes": ["AAPL"]}).encode()

    for head, piece in (
        (TEXT, said[:10]),
        (FINAL | PING, b"still there?"),
        (CONTINUES, b""),
        (CONTINUES, said[10:30]),
        (FINAL | CONTINUES, said[30:]),
    ):
        client.sendall(frame(head, piece))

    pong = bytes((FINAL | PONG, 12)) + b"still there?"
    heard = hear(client, b'"quotes":["AAPL"]')
    assert pong in heard
    assert heard.index(pong) < heard.index(b'"T":"subscription"')
    hear(client, b'"T":"q"')
    client.close()


@pytest.mark.parametrize("wanted", [{"quotes": ["FLOOD"]}, {}])
async def test_a_revoked_key_cuts_off_who_reads_nothing(floor: Floor, wanted: Any) -> None:
    """One whose kernel takes no more, and one that is only deaf to the close."""
    conflated = floor.count("openbell_stream_quotes_conflated_total")
    client = stall(floor.port, **wanted)
    if wanted:
        await floor.counts("openbell_stream_quotes_conflated_total", conflated + 1)
    assert not is_cut(client, 0)

    floor.tell(kind="key_revoked", key_id="KEY")

    assert is_cut(client, CLOSING_SECONDS_MAX - 1.0)  # others get longer to close
    client.close()
    assert SWEEP_SECONDS + REVOKED_SECONDS_MAX < 2.0, "nor does it take longer to be found out"


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
