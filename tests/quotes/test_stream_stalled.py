"""Many readers that take nothing while the feed floods: they cost memory that is bounded, and no
other reader anything."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.conftest import LONG, ROOT
from tests.quotes.raw_client import AUTH, stall

# Counts of the long form, and of the one that always runs.
STALLED = 200 if LONG else 40
# A reader that takes nothing is dropped after 30 s; so others come in its place.
ROUNDS = 5 if LONG else 2
ROUND_SECONDS = 25.0 if LONG else 2.5
# What the server may hold for a reader that stands still and wants quotes alone: what was written
# and did not leave (64 KiB at which it holds, and a batch), and a quote for each symbol.
HELD_BYTES_MAX = 256 * 1024
GROWTH_BYTES_MAX = 8 * 1024 * 1024  # after everybody has stalled: an allocator's slack


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.quotes.stream_floor", "--seats", "1000"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def memory_of(process: subprocess.Popen[str]) -> int:
    """Resident bytes."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def read_trades(port: int, seconds: float) -> int:
    """A reader that keeps up: how many trades of AAPL it got, none of them missing."""
    async with connect(
        f"ws://127.0.0.1:{port}/v2/iex", compression=None, close_timeout=0.1
    ) as client:
        await client.send(json.dumps(AUTH))
        await client.send(json.dumps({"action": "subscribe", "trades": ["AAPL"]}))
        numbers: list[int] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for frame in client:
                    numbers += [each["i"] for each in json.loads(frame) if each["T"] == "t"]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return len(numbers)


async def test_stalled_readers_cost_bounded_memory_and_nobody_else_anything(
    server: tuple[subprocess.Popen[str], int],
) -> None:
    process, port = server
    alone = await read_trades(port, 2.0)
    before = memory_of(process)
    stalled: list[socket.socket] = []
    kept_up, sizes = 0, []
    for _ in range(ROUNDS):
        for client in stalled:
            client.close()
        stalled = [stall(port, quotes=["*"]) for _ in range(STALLED)]
        kept_up += await read_trades(port, ROUND_SECONDS)
        sizes.append(memory_of(process))
    for client in stalled:
        client.close()

    assert sizes[0] - before < STALLED * HELD_BYTES_MAX
    assert max(sizes) - sizes[0] < GROWTH_BYTES_MAX
    assert kept_up / (ROUNDS * ROUND_SECONDS) > 0.5 * alone / 2.0
