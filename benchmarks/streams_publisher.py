"""Publishes ticks for benchmarks/streams.py: over our own bus, as ready JSON, or by group_send.

    streams_publisher.py openbell|redis|channels SHARED --window 4000
    streams_publisher.py openbell|redis|channels SHARED --rate 100000 --burst 5

With a window it never has more messages under way than that, and goes as fast as they are heard;
with a rate it publishes so many deliveries per second, whatever becomes of them. What a tick looks
like is the same for all: one of our trades, about 120 bytes of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import mmap
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

SYMBOLS = [f"SYM{number:03d}" for number in range(100)]
DELIVERED, READY, CLOSED, STOP, BYTES, READS, PUBLISHED, ENOUGH = range(8)  # streams_load.c
POLL_SECONDS = 0.0002
LAST_WORDS_SECONDS = 0.5  # until all that was published has been sent
BATCH_TICKS_MAX = 500  # as much as ingest publishes in one turn

Publish = Callable[[list[tuple[int, str]]], Awaitable[None]]  # (number, symbol) of each tick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=PUBLISHERS)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--fan", type=int, default=100, help="who hears a tick")
    parser.add_argument("--window", type=int)
    parser.add_argument("--rate", type=int)
    parser.add_argument("--burst", type=int, default=1, help="ticks published at once")
    options = parser.parse_args()
    with options.shared.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        shared = memoryview(mapped).cast("Q")
        asyncio.run(run(PUBLISHERS[options.kind](), shared, options))
        shared.release()


async def run(publish: Publish, shared: memoryview, options: argparse.Namespace) -> None:
    numbers = itertools.count(1)
    due = by_window(shared, options) if options.window else by_rate(options)
    for count in due:
        if shared[ENOUGH] or shared[STOP]:
            await asyncio.sleep(LAST_WORDS_SECONDS)
            return
        if count:
            ticks = [(n, SYMBOLS[n * 61 % len(SYMBOLS)]) for n in itertools.islice(numbers, count)]
            await publish(ticks)
            shared[PUBLISHED] += count * options.fan
        await asyncio.sleep(0 if count else POLL_SECONDS)


def by_window(shared: memoryview, options: argparse.Namespace) -> Iterator[int]:
    """How many ticks there is room for now."""
    begin = shared[DELIVERED] - shared[PUBLISHED]
    while True:
        under_way = shared[PUBLISHED] + begin - shared[DELIVERED]
        yield min((options.window - under_way) // options.fan, BATCH_TICKS_MAX)


def by_rate(options: argparse.Namespace) -> Iterator[int]:
    """How many ticks are due now, a burst at a time."""
    started, published = time.monotonic(), 0
    per_second = options.rate / options.fan
    while True:
        due = int((time.monotonic() - started) * per_second) - published
        bursts = due // options.burst * options.burst
        published += bursts
        yield bursts


def over_our_bus() -> Publish:
    """As ingest publishes: one batch."""
    import django

    django.setup()
    from quotes.streaming.bus import TICK_TOPICS, bus
    from quotes.ticks import Batch, Trade

    batches = itertools.count(1)
    epoch = time.time_ns() // 1_000_000_000 % 1_000_000  # newer than that of the run before

    async def publish(ticks: list[tuple[int, str]]) -> None:
        at_us = time.time_ns() // 1000
        trades = tuple(
            Trade(symbol, at_us, 1_000_000 + number % 1000, 100, number, epoch, at_us, "P", ("@",))
            for number, symbol in ticks
        )
        bus().publish(TICK_TOPICS[0], Batch(trades, at_us, epoch, next(batches)))

    return publish


def as_ready_json() -> Publish:
    """The message as the client is to hear it, on a channel per symbol."""
    from redis.asyncio import Redis

    redis = Redis.from_url(os.environ["REDIS_URL"])

    async def publish(ticks: list[tuple[int, str]]) -> None:
        pipeline = redis.pipeline(transaction=False)
        for number, symbol in ticks:
            message = json.dumps([trade_message(number, symbol)], separators=(",", ":"))
            pipeline.publish(f"t:{symbol}", message)
        await pipeline.execute()

    return publish


def to_channels_groups() -> Publish:
    from benchmarks.peers import channels_stream

    async def publish(ticks: list[tuple[int, str]]) -> None:
        for number, symbol in ticks:
            await channels_stream.publish(symbol, trade_message(number, symbol))

    return publish


def trade_message(number: int, symbol: str) -> dict[str, Any]:
    """What our codec makes of the same trade."""
    seconds, micros = divmod(time.time_ns() // 1000, 1_000_000)
    return {
        "T": "t",
        "S": symbol,
        "i": 10**15 + number,
        "x": "P",
        "p": 100 + number % 1000 / 10_000,
        "s": 100,
        "t": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{micros:06d}Z",
        "c": ["@"],
        "z": "",
    }


PUBLISHERS: dict[str, Callable[[], Publish]] = {
    "openbell": over_our_bus,
    "redis": as_ready_json,
    "channels": to_channels_groups,
}

if __name__ == "__main__":
    main()
