"""Between Redis and a stream process, and between it and its client, messages get lost.

A proxy on each of the two ways drops, repeats, reorders and cuts up what passes, also what the
client asks for; it falls silent, or is gone for a while. At every moment the client's quotes and
prices are the feed's, or it knows that they may not be; afterwards it has everything again without
anybody's help.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from quotes.amounts import PRICE_UNIT
from quotes.feeds.alpaca_wire import Revision
from quotes.feeds.tape import Tape
from quotes.last_prices import LastPrices
from quotes.latest import Latest
from quotes.streaming.bus import TICK_TOPICS
from quotes.ticks import CORRECTED, Amendment, Batch, Place, Quote, Rank, Trade
from tests.conftest import ROOT
from tests.faults.chaos import ChaosProxy, Mischief, chaos, redis_replies, websocket_frames
from tests.faults.chaos_floor import (
    BATCH_SECONDS,
    HEARTBEAT_SECONDS,
    SILENT_SECONDS,
    SYMBOLS,
)
from tests.quotes.honest_client import NO_PRICE, NOWHERE, HonestClient
from tests.streams import quote, trade

# What a machine that is busy with other tests may add to a heartbeat.
SLACK_SECONDS = 1.0
PATIENCE_SECONDS = HEARTBEAT_SECONDS + SLACK_SECONDS  # of a client
# How old the newest may be that is trusted: a server that hears nothing says so when it has been
# silent for so long, and where that is lost the client has run out of patience.
TRUSTED_SECONDS_MAX = PATIENCE_SECONDS + SILENT_SECONDS
JUDGE_SECONDS = 0.02
TROUBLE_SECONDS = 4.0
HEALED_SECONDS_MAX = 60.0  # what is trusted meanwhile, the judge bounds
AUTH = {"action": "auth", "key": "KEY", "secret": "secret"}
SUBSCRIBE = {"action": "subscribe", "quotes": SYMBOLS, "trades": SYMBOLS}

pytestmark = pytest.mark.skipif(not settings.REDIS_URL, reason="NO REDIS: set REDIS_URL")


class Said(NamedTuple):
    """The (epoch, number) of a symbol's newest quote, and the rank of its last price."""

    quote: tuple[int, int]
    price: Rank


def said_of(quote: Quote | None, trade: Trade | None) -> Said:
    place = (quote.epoch, quote.sequence) if quote else NOWHERE
    return Said(place, trade.rank if trade else NO_PRICE)


class Feed:
    """Stores and publishes ticks on the real Redis, and remembers when it said what."""

    def __init__(self) -> None:
        from quotes.latest.redis import RedisStore
        from quotes.streaming.bus.redis import RedisBus

        self.chance = random.Random(7)
        self.store, self.bus = RedisStore(settings.REDIS_URL), RedisBus(settings.REDIS_URL)
        self.store.clear()
        self.place = Place(1, 0)
        self.latest = dict.fromkeys(SYMBOLS, Latest())
        self.tape = Tape()
        self.numbers = dict.fromkeys(SYMBOLS, 0)  # of the last print
        self.priced: dict[str, list[Trade]] = {symbol: [] for symbol in SYMBOLS}  # as they are now
        self.last_prices = LastPrices(lambda symbol: (self.priced[symbol] or [None])[-1])
        self.prices: dict[tuple[str, Rank], float | None] = {}  # whatever was said, by its rank
        self.quiet_speaks: bool | None = None  # once more, and then not again; None: now and then
        self.said = deque([(time.monotonic(), self.truth())], maxlen=1_000)

    async def run(self) -> None:
        while True:
            await asyncio.to_thread(self.run_once)
            await asyncio.sleep(BATCH_SECONDS)

    def run_once(self) -> None:
        self.place = Place(1, self.place.number + 1)
        ticks = [tick for symbol in SYMBOLS for tick in self._ticks(symbol)]
        amendments = tuple(self._amendments())
        last = [each.last for each in amendments if each.last]
        self.store.put_many([*ticks, *last], self.place)
        self.bus.publish(TICK_TOPICS[0], Batch(tuple(ticks), 0, *self.place, amendments))
        self.said.append((time.monotonic(), self.truth()))

    def _ticks(self, symbol: str) -> Iterator[Quote | Trade]:
        """QUIET speaks rarely: what it loses, no later tick makes good."""
        speaks = self.chance.random() < (0.05 if symbol == "QUIET" else 0.7)
        if symbol == "QUIET" and self.quiet_speaks is not None:
            speaks, self.quiet_speaks = self.quiet_speaks, False
        if not speaks:
            return
        bid = self.latest[symbol].quote
        newer = quote(symbol, n=bid.sequence + 1 if bid else 1)
        self.numbers[symbol] += 1
        print_ = trade(symbol, n=self.numbers[symbol])
        self.last_prices.hear({symbol: print_})
        self.priced[symbol].append(print_)
        self._stand(newer, print_)
        yield from (newer, print_)

    def _stand(self, quote: Quote | None, last: Trade) -> None:
        self.latest[last.symbol] = Latest(quote, last)
        price = None if last.is_canceled else last.price / PRICE_UNIT
        self.prices[last.symbol, last.rank] = price

    def _amendments(self) -> Iterator[Amendment]:
        """Some last prices turn out wrong, each once, and some never were."""
        for symbol, (bid, last) in self.latest.items():
            if last is None or last.amended or self.chance.random() > 0.1:
                continue
            was = self.priced[symbol].pop()
            right = was._replace(price=was.price + 100) if self.chance.random() < 0.5 else None
            self.priced[symbol] += [right._replace(amended=CORRECTED)] if right else []
            self.tape.print("it", was)
            told = self.tape.amend([Revision(symbol, 0, "it", right, "it, anew", "")])
            [amendment] = self.last_prices.amend(told)
            assert amendment.last is not None
            self._stand(bid, amendment.last)
            yield amendment

    def truth(self) -> dict[str, Said]:
        return {symbol: said_of(*known) for symbol, known in self.latest.items()}

    def said_until(self, at: float) -> dict[str, Said]:
        """The newest of each symbol at an instant."""
        return next((truth for when, truth in reversed(self.said) if when <= at), self.said[0][1])

    def close(self) -> None:
        self.bus.close()
        self.store.clear()


class Watcher:
    """An honest client over a real socket, and the judge of what it trusts."""

    def __init__(self, feed: Feed, port: int) -> None:
        self.feed = feed
        self.address = f"ws://127.0.0.1:{port}/v2/iex?honest=1"
        self.client = self._new()
        self.judged = self.trusted = self.flagged = 0
        self.longest_stall = 0.0  # of this process, and so of feed, proxies and client

    def _new(self) -> HonestClient:
        return HonestClient(SYMBOLS, time.monotonic(), PATIENCE_SECONDS)

    async def run(self) -> None:
        """Connect again and again."""
        while True:
            with suppress(WebSocketException, OSError, TimeoutError):
                async with connect(
                    self.address, compression=None, open_timeout=2, close_timeout=0.2
                ) as socket:
                    self.client = self._new()
                    await self._listen(socket)
            self.client = self._new()
            await asyncio.sleep(0.1)

    async def _listen(self, socket: ClientConnection) -> None:
        await socket.send(json.dumps(AUTH))
        await socket.send(json.dumps(SUBSCRIBE))
        async for frame in socket:
            for message in json.loads(frame):
                request = self.client.hear(message, time.monotonic())
                if request is not None:
                    await socket.send(json.dumps(request))

    async def judge(self) -> None:
        """At every moment, what is trusted was the newest a moment ago."""
        while True:
            at = time.monotonic()
            await asyncio.sleep(JUDGE_SECONDS)
            self.longest_stall = max(self.longest_stall, time.monotonic() - at - JUDGE_SECONDS)
            self.judge_once()

    def judge_once(self) -> None:
        now = time.monotonic()
        before = self.feed.said_until(now - TRUSTED_SECONDS_MAX - self.longest_stall)
        for symbol in SYMBOLS:
            self.judged += 1
            if not self.client.trusts(symbol, now):
                self.flagged += 1
                continue
            self.trusted += 1
            quote, rank = self.client.quotes[symbol], self.client.prices[symbol]
            assert before[symbol].quote <= quote, f"{symbol}: an old quote is trusted"
            assert before[symbol].price <= rank, f"{symbol}: an old price is trusted"
            assert self.has_price_of(rank, symbol), f"{symbol}: a wrong price is trusted"

    def has_price_of(self, rank: Rank, symbol: str) -> bool:
        return self.client.price(symbol) == self.feed.prices.get((symbol, rank))

    def is_whole(self) -> bool:
        """Everything is trusted, and is what the feed said a moment ago."""
        now = time.monotonic()
        said = self.feed.said_until(now - SLACK_SECONDS / 2)
        return all(
            self.client.trusts(symbol, now)
            and said[symbol].quote <= self.client.quotes[symbol]
            and said[symbol].price <= self.client.prices[symbol]
            and self.has_price_of(self.client.prices[symbol], symbol)
            for symbol in SYMBOLS
        )

    def trusts_nothing(self) -> bool:
        now = time.monotonic()
        return not any(self.client.trusts(symbol, now) for symbol in SYMBOLS)

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + HEALED_SECONDS_MAX
        while not holds():
            assert time.monotonic() < deadline, f"waited in vain until {what}"
            await asyncio.sleep(0.02)


class Stream(NamedTuple):
    """A stream process: the port it listens on, and the one of its metrics."""

    port: int
    metrics_port: int

    def gaps(self) -> float:
        """How often it noticed that it had lost something."""
        address = f"http://127.0.0.1:{self.metrics_port}"
        with urllib.request.urlopen(address, timeout=HEALED_SECONDS_MAX) as answer:
            lines = answer.read().decode().splitlines()
        [line] = [line for line in lines if line.startswith("openbell_stream_gaps_total ")]
        return float(line.split()[1])


@contextmanager
def stream_process(redis_port: int) -> Iterator[Stream]:
    """A stream process whose Redis is at this port."""
    url = urlsplit(settings.REDIS_URL)
    through = urlunsplit(url._replace(netloc=f"127.0.0.1:{redis_port}"))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.chaos_floor"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "REDIS_URL": through,
            "REDIS_STATE_URL": through,
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Stream(*map(int, process.stdout.readline().split()))
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def bus_way() -> Iterator[ChaosProxy]:
    with chaos(urlsplit(settings.REDIS_URL).port or 6379, redis_replies) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def stream(bus_way: ChaosProxy) -> Iterator[Stream]:
    with stream_process(bus_way.port) as stream:
        yield stream


@pytest.fixture(scope="module")
def client_way(stream: Stream) -> Iterator[ChaosProxy]:
    with chaos(stream.port, websocket_frames, websocket_frames) as proxy:
        yield proxy


@asynccontextmanager
async def watched(port: int) -> AsyncIterator[Watcher]:
    """A feed that speaks and a client that listens; what the judge finds fails the test."""
    feed = Feed()
    watcher = Watcher(feed, port)
    try:
        async with asyncio.TaskGroup() as tasks:
            running: list[Callable[[], Awaitable[None]]] = [feed.run, watcher.run, watcher.judge]
            started = [tasks.create_task(each()) for each in running]  # type: ignore[arg-type]
            await watcher.until(lambda: len(feed.said) > 1 and watcher.is_whole(), "it has begun")
            yield watcher
            for task in started:
                task.cancel()
    finally:
        feed.close()


@contextmanager
def mischief(way: ChaosProxy, **done: Any) -> Iterator[Mischief]:
    for name, value in done.items():
        setattr(way.mischief, name, value)
    try:
        yield way.mischief
    finally:
        way.mischief.__init__()  # type: ignore[misc]


async def test_what_the_bus_loses_repeats_and_reorders_is_noticed_and_healed(
    stream: Stream, bus_way: ChaosProxy, client_way: ChaosProxy
) -> None:
    """The hub may find it again before the client has to know."""
    gaps = await asyncio.to_thread(stream.gaps)
    async with watched(client_way.port) as watcher:
        with mischief(bus_way, rate=0.3, cuts=True) as did:
            await asyncio.sleep(TROUBLE_SECONDS)
            await watcher.until(lambda: len(did.done) == 3, "all of it was done")
        await watcher.until(watcher.is_whole, "everything is healed")
    assert await asyncio.to_thread(stream.gaps) > gaps


@pytest.mark.parametrize("asking_rate", [0.0, 0.7])
async def test_what_is_lost_repeated_reordered_and_cut_up_is_flagged_and_healed(
    asking_rate: float, client_way: ChaosProxy
) -> None:
    """Between hub and client; so may be what the client asks for to mend it."""
    async with watched(client_way.port) as watcher:
        with mischief(client_way, rate=0.3, asking_rate=asking_rate, cuts=True) as did:
            flagged = watcher.flagged
            await asyncio.sleep(TROUBLE_SECONDS)
            await watcher.until(lambda: len(did.done) == 3, "all of it was done")
            if asking_rate:
                await watcher.until(lambda: "drop" in did.done_asking, "a request was lost")
            assert watcher.flagged > flagged
        await watcher.until(watcher.is_whole, "everything is healed")


@pytest.mark.parametrize("way", ["bus", "client"])
async def test_a_way_that_falls_silent_is_told_from_a_quiet_market(
    way: str, bus_way: ChaosProxy, client_way: ChaosProxy
) -> None:
    hurt = bus_way if way == "bus" else client_way
    async with watched(client_way.port) as watcher:
        with mischief(hurt, is_mute=True):
            await watcher.until(watcher.trusts_nothing, "the silence is noticed")
        await watcher.until(watcher.is_whole, "everything is healed")


async def test_redis_gone_and_back_is_healed_without_help(
    bus_way: ChaosProxy, client_way: ChaosProxy
) -> None:
    async with watched(client_way.port) as watcher:
        with mischief(bus_way, is_away=True):
            await watcher.until(watcher.trusts_nothing, "it is noticed")
        await watcher.until(watcher.is_whole, "everything is healed")


async def test_redis_that_comes_back_empty_is_filled_by_the_feed(
    bus_way: ChaosProxy, client_way: ChaosProxy
) -> None:
    """What was said while it was away and never again, a client can only know from the store."""
    async with watched(client_way.port) as watcher:
        feed = watcher.feed
        with mischief(bus_way, is_away=True):
            before, feed.quiet_speaks = feed.said[-1][1]["QUIET"], True
            await watcher.until(
                lambda: feed.said[-1][1]["QUIET"].quote > before.quote, "QUIET has spoken"
            )
            said = feed.truth()["QUIET"]
            await asyncio.to_thread(empty_redis)

        def knows() -> bool:
            client = watcher.client
            price = client.prices["QUIET"]  # may be amended, but there is no newer print
            return client.quotes["QUIET"] == said.quote and price[:2] == said.price[:2]

        await watcher.until(lambda: knows() and watcher.is_whole(), "everything is healed")
        assert feed.truth()["QUIET"].quote == said.quote


def empty_redis() -> None:
    from redis import Redis

    Redis.from_url(settings.REDIS_URL).flushdb()
