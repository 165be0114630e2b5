"""What benchmarks/streams.py publishes: ticks, made beforehand for streams_publish.c to send.

The load publishes by itself, as cheaply as can be: it shares its core with Redis, and what it
spends on making messages a fast server would spend waiting for them. So the Redis commands that
publish one tick, two ticks and so on are made here, by the code that makes them in earnest, and
only symbols, numbers and times are filled in when they are sent. Openbell gets a batch over its own
bus, as ingest publishes it, the others a message of ready JSON for each tick. What a tick looks
like is the same for all: one of our trades, about 120 bytes of JSON.
"""

from __future__ import annotations

import json
import re
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SYMBOLS = [f"SYM{number:03d}" for number in range(100)]
TICKS_AT_ONCE_MAX = 40

# Stand for what is filled in; each is found again by its bytes.
SYMBOL, NUMBER, BATCH_NUMBER = "SYM000", 0x7F818283, 0x7F919293
NUMBER_DIGITS, AT_US = 123_456_789, 0x0006_A1A2_A3A4_A5A6
TIME_TEXT = "2013-10-07T13:30:00.000250Z"


def write_batches(kind: str, path: Path) -> None:
    """The batches of one tick, of two and so on, and where they have holes."""
    made = MADE[kind]()
    each = {kind: made(1).count(mark) for kind, mark in MARKS.items()}
    with path.open("wb") as file:
        for count in range(1, TICKS_AT_ONCE_MAX + 1):
            commands = made(count)
            holes = list(holes_of(commands, each))
            file.write(struct.pack("=II", len(commands), len(holes)))
            file.writelines(struct.pack("=III", *hole) for hole in holes)
            file.write(commands)


def holes_of(commands: bytes, each: dict[str, int]) -> Iterator[tuple[int, int, int]]:
    """(offset, kind, which tick of the batch) of all that is to be filled in; `each` tick has so
    many of them."""
    for kind, mark in MARKS.items():
        for number, found in enumerate(re.finditer(re.escape(mark), commands)):
            yield found.start(), ord(kind), number // each[kind]


def over_our_bus() -> Callable[[int], bytes]:
    """As ingest publishes: one batch."""
    import hiredis

    from quotes.streaming.bus import TICK_TOPICS
    from quotes.streaming.bus.wire import pack
    from quotes.ticks import Batch, Trade

    epoch = time.time_ns() // 1_000_000_000 % 1_000_000  # newer than that of the run before
    trade = Trade(SYMBOL, AT_US, 1_000_123, 100, NUMBER, epoch, AT_US, "P", ("@",))

    def made(count: int) -> bytes:
        batch = Batch((trade,) * count, AT_US, epoch, BATCH_NUMBER)
        packed = pack("benchmark", 0, batch)
        command: Any = ("PUBLISH", f"openbell:0:{TICK_TOPICS[0]}", packed)  # as the bus names it
        return hiredis.pack_command(command)

    return made


def as_ready_json() -> Callable[[int], bytes]:
    """The message as the client is to hear it, on a channel per symbol."""
    import hiredis

    message = json.dumps([trade_message(NUMBER_DIGITS, SYMBOL, TIME_TEXT)], separators=(",", ":"))
    words: Any = ("PUBLISH", f"t:{SYMBOL}", message)
    command = hiredis.pack_command(words)
    return lambda count: command * count


def trade_message(number: int, symbol: str, at: str) -> dict[str, Any]:
    """What our codec makes of the same trade."""
    return {
        "T": "t",
        "S": symbol,
        "i": 10**15 + number,
        "x": "P",
        "p": 100.0123,
        "s": 100,
        "t": at,
        "c": ["@"],
        "z": "",
    }


# What is filled in, as streams_publish.c calls it: the bytes that stand for it.
MARKS = {
    "s": SYMBOL.encode(),
    "n": NUMBER.to_bytes(4),
    "b": BATCH_NUMBER.to_bytes(4),
    "d": str(NUMBER_DIGITS).encode(),
    "T": AT_US.to_bytes(8),
    "t": TIME_TEXT.encode(),
}
MADE = {"openbell": over_our_bus, "redis": as_ready_json}
