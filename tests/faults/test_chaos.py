"""Between Redis and a stream process, and between it and its client, messages get lost.

A proxy on each of the two ways drops, repeats, reorders and cuts up what passes, also what the
client asks for; it falls silent, or is gone for a while. At every moment the client's quotes,
prices and halts are the feed's, or it knows that they may not be; afterwards it has everything
again without anybody's help.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings

from tests.conftest import ROOT
from tests.faults.chaos import ChaosProxy, Mischief, chaos, redis_replies, websocket_frames
from tests.faults.chaos_watch import HEALED_SECONDS_MAX, Feed, Watcher
from tests.running import line_of

TROUBLE_SECONDS = 4.0

pytestmark = pytest.mark.skipif(not settings.REDIS_URL, reason="NO REDIS: set REDIS_URL")


class Stream(NamedTuple):
    """A stream process: the port it listens on, that of its metrics, and where it reads halts."""

    port: int
    metrics_port: int
    halts: Path

    def gaps(self) -> float:
        """How often it noticed that it had lost something."""
        address = f"http://127.0.0.1:{self.metrics_port}"
        with urllib.request.urlopen(address, timeout=HEALED_SECONDS_MAX) as answer:
            lines = answer.read().decode().splitlines()
        [line] = [line for line in lines if line.startswith("openbell_stream_gaps_total ")]
        return float(line.split()[1])


@contextmanager
def stream_process(redis_port: int, halts: Path) -> Iterator[Stream]:
    """A stream process whose Redis is at this port. The file of halts stays within its reach, as
    the database is."""
    url = urlsplit(settings.REDIS_URL)
    through = urlunsplit(url._replace(netloc=f"127.0.0.1:{redis_port}"))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.chaos_floor", str(halts)],
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
        port, metrics_port = map(int, line_of(process).split())
        yield Stream(port, metrics_port, halts)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def bus_way() -> Iterator[ChaosProxy]:
    with chaos(urlsplit(settings.REDIS_URL).port or 6379, redis_replies) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def stream(bus_way: ChaosProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stream]:
    halts = tmp_path_factory.mktemp("halts") / "halts.json"
    with stream_process(bus_way.port, halts) as stream:
        yield stream


@pytest.fixture(scope="module")
def client_way(stream: Stream) -> Iterator[ChaosProxy]:
    with chaos(stream.port, websocket_frames, websocket_frames) as proxy:
        yield proxy


@asynccontextmanager
async def watched(stream: Stream, client_way: ChaosProxy) -> AsyncIterator[Watcher]:
    """A feed that speaks and a client that listens; what the judge finds fails the test."""
    feed = Feed(stream.halts)
    watcher = Watcher(feed, client_way.port)
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
    """The hub may find it again before the client has to know. All of QUIET's news are lost, the
    last one of its halt with them."""
    gaps = await asyncio.to_thread(stream.gaps)
    async with watched(stream, client_way) as watcher:
        with mischief(bus_way, rate=0.3, cuts=True, loses=b"QUIET") as did:
            watcher.feed.quiet_speaks = True
            await asyncio.sleep(TROUBLE_SECONDS)
            await watcher.until(lambda: len(did.done) == 3, "all of it was done")
        await watcher.until(watcher.is_whole, "everything is healed")
    assert await asyncio.to_thread(stream.gaps) > gaps


@pytest.mark.parametrize("asking_rate", [0.0, 0.7])
async def test_what_is_lost_repeated_reordered_and_cut_up_is_flagged_and_healed(
    asking_rate: float, stream: Stream, client_way: ChaosProxy
) -> None:
    """Between hub and client; so may be what the client asks for to mend it."""
    async with watched(stream, client_way) as watcher:
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
    way: str, stream: Stream, bus_way: ChaosProxy, client_way: ChaosProxy
) -> None:
    hurt = bus_way if way == "bus" else client_way
    async with watched(stream, client_way) as watcher:
        with mischief(hurt, is_mute=True):
            await watcher.until(watcher.trusts_nothing, "the silence is noticed")
        await watcher.until(watcher.is_whole, "everything is healed")


async def test_redis_gone_and_back_is_healed_without_help(
    stream: Stream, bus_way: ChaosProxy, client_way: ChaosProxy
) -> None:
    async with watched(stream, client_way) as watcher:
        with mischief(bus_way, is_away=True):
            await watcher.until(watcher.trusts_nothing, "it is noticed")
        await watcher.until(watcher.is_whole, "everything is healed")


async def test_redis_that_comes_back_empty_is_filled_by_the_feed(
    stream: Stream, bus_way: ChaosProxy, client_way: ChaosProxy
) -> None:
    """What was said while it was away and never again, a client can only know from the store."""
    async with watched(stream, client_way) as watcher:
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
