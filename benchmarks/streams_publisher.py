"""Publishes by `group_send` for benchmarks/streams.py, as fast as it is heard.

    streams_publisher.py SHARED --fan 100 --window 2000

It never has more messages under way than the window. What the others hear the load publishes.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import mmap
import time
from pathlib import Path

from benchmarks.peers import channels_stream
from benchmarks.streams_figures import DELIVERED, ENOUGH, PUBLISHED, STOP
from benchmarks.streams_messages import SYMBOLS, trade_message

POLL_SECONDS = 0.0002
LAST_WORDS_SECONDS = 0.5  # until all that was published has been sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--fan", type=int, required=True, help="who hears a tick")
    parser.add_argument("--window", type=int, required=True)
    options = parser.parse_args()
    with options.shared.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        shared = memoryview(mapped).cast("Q")
        asyncio.run(publish_on(shared, options.fan, options.window))
        shared.release()


async def publish_on(shared: memoryview, fan: int, window: int) -> None:
    numbers = itertools.count(1)
    begin = shared[DELIVERED] - shared[PUBLISHED]
    while not (shared[ENOUGH] or shared[STOP]):
        under_way = shared[PUBLISHED] + begin - shared[DELIVERED]
        for number in itertools.islice(numbers, max((window - under_way) // fan, 0)):
            symbol = SYMBOLS[number * 61 % len(SYMBOLS)]
            await channels_stream.publish(symbol, trade_message(number, symbol, now()))
            shared[PUBLISHED] += fan
        await asyncio.sleep(POLL_SECONDS)
    await asyncio.sleep(LAST_WORDS_SECONDS)


def now() -> str:
    seconds, micros = divmod(time.time_ns() // 1000, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{micros:06d}Z"


if __name__ == "__main__":
    main()
