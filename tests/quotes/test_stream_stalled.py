"""Many readers that take nothing while the feed floods: they cost memory that is bounded, and no
other reader anything."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from websockets.asyncio.client import connect

from quotes.streaming.socket import HELD_BYTES_MAX
from tests.conftest import LONG
from tests.quotes.floor_process import FloorProcess, floor_process
from tests.quotes.raw_client import AUTH, stall

# Counts of the long form, and of the one that always runs.
STALLED = 200 if LONG else 40
# A reader that takes nothing is dropped after 30 s; so others come in its place.
ROUNDS = 5 if LONG else 2
ROUND_SECONDS = 25.0 if LONG else 2.5
ALONE_SECONDS = 2.0
# What the server may hold for a reader that stands still. Of quotes: what was written and did not
# leave (64 KiB at which it holds, and a batch), and one for each symbol. Of trades as well what may
# wait; the frames are everybody's, but each has its place in each queue.
QUOTES_BYTES_MAX = 256 * 1024
TRADES_BYTES_MAX = QUOTES_BYTES_MAX + HELD_BYTES_MAX
GROWTH_BYTES_MAX = 8 * 1024 * 1024  # after everybody has stalled: an allocator's slack
MICROSECOND = timedelta(microseconds=1)
# Turns of the feed by which half of what a reader gets may be late.
TURNS_LATE_MAX = 10


class Stalled(NamedTuple):
    """A way to stand still."""

    path: str
    wanted: dict[str, list[str]]
    bytes_max: int


KINDS = (
    Stalled("/v2/iex", {"quotes": ["*"]}, QUOTES_BYTES_MAX),
    Stalled("/v2/iex", {"trades": ["*"]}, TRADES_BYTES_MAX),
    Stalled("/v2/iex?honest=1", {"quotes": ["*"], "trades": ["AAPL"]}, TRADES_BYTES_MAX),
)
STANDING = [KINDS[number % len(KINDS)] for number in range(STALLED)]


@pytest.fixture
def server() -> Iterator[FloorProcess]:
    with floor_process("--seats", "1000") as started:
        yield started


def memory_of(process: subprocess.Popen[str], which: str = "VmRSS") -> int:
    """Resident bytes: now, or with VmHWM the most there ever were."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    [line] = [line for line in status if line.startswith(f"{which}:")]
    return int(line.split()[1]) * 1024


class Heard(NamedTuple):
    """A trade: its number, and how long it took by two clocks that run alike."""

    number: int
    took_us: int


async def read_trades(port: int, seconds: float) -> list[Heard]:
    """What a reader that keeps up gets of AAPL, none of it missing."""
    heard: list[Heard] = []
    async with connect(
        f"ws://127.0.0.1:{port}/v2/iex", compression=None, close_timeout=0.1
    ) as client:
        await client.send(json.dumps(AUTH))
        await client.send(json.dumps({"action": "subscribe", "trades": ["AAPL"]}))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for frame in client:
                    now_us = time.monotonic_ns() // 1_000
                    trades = [each for each in json.loads(frame) if each["T"] == "t"]
                    heard += [Heard(each["i"], now_us - us_of(each["t"])) for each in trades]
    first = heard[0].number
    assert [each.number for each in heard] == list(range(first, first + len(heard)))
    return heard


def us_of(stamp: str) -> int:
    return (datetime.fromisoformat(stamp) - datetime.fromtimestamp(0, UTC)) // MICROSECOND


async def test_stalled_readers_cost_bounded_memory_and_nobody_else_anything(
    server: FloorProcess,
) -> None:
    process, port, _ = server
    alone = await read_trades(port, ALONE_SECONDS)
    before = memory_of(process)
    stalled: list[socket.socket] = []
    kept_up, sizes = list[Heard](), []
    for _ in range(ROUNDS):
        for client in stalled:
            client.close()
        stalled = [stall(port, kind.path, **kind.wanted) for kind in STANDING]
        kept_up += await read_trades(port, ROUND_SECONDS)
        sizes.append(memory_of(process))
    for client in stalled:
        client.close()

    held_max = sum(kind.bytes_max for kind in STANDING)
    print(f"held at most {(memory_of(process, 'VmHWM') - before) / held_max:.0%} of what may be")
    assert memory_of(process, "VmHWM") - before < held_max
    assert max(sizes) - sizes[0] < GROWTH_BYTES_MAX

    # The feed is a thread of the same process, so it turns the slower the more there is to do.
    turn_us = ROUNDS * ROUND_SECONDS * 1e6 / len(kept_up)
    fastest_us = min(each.took_us for each in alone + kept_up)
    late_us = statistics.median(each.took_us for each in kept_up) - fastest_us
    print(f"half of {len(kept_up)} trades were late by {late_us / turn_us:.1f} turns of the feed")
    assert late_us < TURNS_LATE_MAX * turn_us
    assert turn_us < 10 * ALONE_SECONDS * 1e6 / len(alone)
