"""How fast a recorded day goes through ingest.

    python benchmarks/replay.py --data ../shared/lean --date 2013-10-07 --speed 1000

Plays the day from a fresh database in a folder that is removed afterwards, the way the embedded
platform does: feed thread and writing thread, and beside them a reader like the engine (every tick
in order, blocking the feed) and one like the hub (every tick encoded once as JSON). Prints ticks,
seconds, ticks per second, and how late the watermark was against the schedule of that speed; a
schedule put off by more than 5 s slips, and what it slipped by is printed too. `--flat-out` jumps
to the end of the day instead: as fast as the machine can.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ENGINE_PLACES = 64
HUB_PLACES = 1024
SAMPLE_SECONDS = 0.02


def main() -> None:
    options = parse()
    home = tempfile.mkdtemp(prefix="openbell-replay-")
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "OPENBELL_HOME": home,
        "OPENBELL_ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-this-benchmark",
        "FEED": "lean",
        "DATA": str(options.data),
        "DATE": options.date,
        "SPEED": str(options.speed),
    }
    try:
        set_up()
        play(options.seconds, flat_out=options.flat_out)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "lean")
    parser.add_argument("--date", default="2013-10-07")
    parser.add_argument("--speed", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=600.0, help="give up after so long")
    parser.add_argument("--flat-out", action="store_true")
    return parser.parse_args()


def set_up() -> None:
    import django
    from django.conf import settings
    from django.core.management import call_command

    django.setup()
    settings.MARKET_HOME.mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0)


def play(seconds_max: float, *, flat_out: bool) -> None:
    """Run the day to its end and print what was measured."""
    from quotes import market
    from quotes.clock import market_clock
    from quotes.ingest import configured_feed, run_feed
    from quotes.ingest.batches import LAG, SLIPPED, TICKS
    from quotes.ticks import to_instant

    stop = threading.Event()
    engine = Reader(stop, ENGINE_PLACES, keep_book)
    hub = Reader(stop, HUB_PLACES, encode)
    threads = [threading.Thread(target=one) for one in (engine.run, hub.run)]
    threads.append(threading.Thread(target=run_feed, args=(stop,)))
    end_us = configured_feed()[0].end_us
    assert end_us is not None
    began, began_cpu, lags = time.monotonic(), time.process_time(), []
    for thread in threads:
        thread.start()
    last_tick_at = began
    if flat_out:
        while not market_clock().source:
            time.sleep(SAMPLE_SECONDS)
        market.jump(to=to_instant(end_us), actor="operator:benchmark")
    while market_clock().now_us() < end_us or market_clock().mode == "live":
        if time.monotonic() - began > seconds_max:
            print("gave up: the day did not end in time")
            break
        time.sleep(SAMPLE_SECONDS)
        lags.append(LAG._value.get())
        if engine.ticks != engine.sampled:
            engine.sampled, last_tick_at = engine.ticks, time.monotonic()
    stop.set()
    for thread in threads:
        thread.join(30)

    ticks = sum(int(TICKS.labels(kind)._value.get()) for kind in ("quote", "trade"))
    seconds = last_tick_at - began
    lags.sort()
    print(f"ticks            {ticks:,} (engine heard {engine.ticks:,}, hub {hub.ticks:,})")
    print(f"seconds          {seconds:.1f} to the last tick, CPU {cpu(began_cpu):.1f}")
    print(f"ticks per second {ticks / seconds:,.0f}")
    print(f"lag              p50 {at(lags, 0.5):.2f} s, p99 {at(lags, 0.99):.2f} s")
    print(f"schedule slipped {SLIPPED._value.get():.1f} s")
    print(f"missed           engine {engine.missed}, hub {hub.missed} times")


class Reader:
    """A thread with its own loop that reads every batch."""

    def __init__(
        self, stop: threading.Event, places: int, handle: Callable[[Sequence[Any]], None]
    ) -> None:
        self.ticks = self.sampled = self.missed = 0
        self._stop, self._places, self._handle = stop, places, handle

    def run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._read())

    async def _read(self) -> None:
        from quotes.streaming.bus import TICK_TOPICS, WhenFull, bus

        blocks = self._places == ENGINE_PLACES
        subscription = bus().subscribe(
            TICK_TOPICS,
            limit=self._places,
            when_full=WhenFull.BLOCK if blocks else WhenFull.DROP_OLDEST,
        )
        while not self._stop.is_set():
            for _, batch in await subscription.get_many(0.1):
                self._handle(batch.ticks)
                self.ticks += len(batch.ticks)
            self.missed += subscription.missed
            subscription.missed = False
        subscription.close()


BOOK: dict[str, object] = {}


def keep_book(ticks: Sequence[Any]) -> None:
    """The least an engine does with a tick: look whether anything rests on its symbol."""
    for tick in ticks:
        BOOK[tick.symbol] = tick


def encode(ticks: Sequence[Any]) -> None:
    """The least a hub does with a tick that somebody wants: encode it once."""
    import orjson

    for tick in ticks:
        orjson.dumps(tick[:8])


def at(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def cpu(began: float) -> float:
    return time.process_time() - began


if __name__ == "__main__":
    main()
