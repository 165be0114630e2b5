"""The feed process of benchmarks/full_path.py: `manage.py run_feed`, on a very busy simulation.

    full_path_feed.py SHARED --fan 200 --per-second 1000

It says when it has begun, on standard output, and makes ticks from the next line on that it reads.
What it publishes it counts in the figures SHARED, as so many deliveries; at the end it prints how
old ticks were when they were published.
"""

from __future__ import annotations

import argparse
import json
import mmap
import statistics
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import django

django.setup()

from quotes.bars import midnight  # noqa: E402
from quotes.calendar import NEW_YORK  # noqa: E402
from quotes.feeds import simulated  # noqa: E402
from quotes.feeds.listings import LISTINGS  # noqa: E402
from quotes.feeds.simulated_prices import activity_at  # noqa: E402
from quotes.ingest import run_feed  # noqa: E402
from quotes.ingest.batches import Ingest  # noqa: E402

from benchmarks.streams_figures import ENOUGH, PUBLISHED  # noqa: E402  # isort: skip

POLL_SECONDS = 0.05
QUIET_PER_SECOND = 0.5  # ticks; the simulation looks ahead for the next one
AGES_MAX = 200_000  # the last ones are kept
DAY_SECONDS = timedelta(days=1).total_seconds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--fan", type=int, required=True, help="who hears a tick")
    parser.add_argument("--per-second", type=float, required=True, help="ticks, on average")
    options = parser.parse_args()
    simulate(QUIET_PER_SECOND)
    with options.shared.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        shared, ages, stop = memoryview(mapped).cast("Q"), list[int](), threading.Event()
        begun = count(shared, options.fan, ages)
        threading.Thread(target=hasten, args=(options.per_second, begun), daemon=True).start()
        threading.Thread(target=end_when_told, args=(shared, stop)).start()
        run_feed(stop)
        centiles = statistics.quantiles(ages[-AGES_MAX:], n=100)
        print(json.dumps({"p50_ms": centiles[49] / 1000, "p99_ms": centiles[98] / 1000}))
        shared.release()


def hasten(per_second: float, begun: threading.Event) -> None:
    """Once the market has begun and we are asked to."""
    begun.wait()
    print("begun", flush=True)
    input()
    simulate(per_second)


def simulate(per_second: float) -> None:
    """Make so many ticks a second on average, at this time of day."""
    now = time.time()
    part_of_day = (now - midnight(datetime.fromtimestamp(now, NEW_YORK).date())) / DAY_SECONDS
    busy = sum(listing.activity for listing in LISTINGS) * activity_at(part_of_day)
    simulated.QUOTES_PER_SECOND = per_second / busy / (1 + simulated.TRADE_SHARE)


def count(shared: memoryview, fan: int, ages: list[int]) -> threading.Event:
    """Count what is published from now on; the event is set once anything is."""
    publish, begun = Ingest._publish, threading.Event()

    def publish_and_count(self: Ingest, ticks: list[Any], *more: Any) -> None:
        now_us = time.time_ns() // 1_000
        ages.extend(now_us - tick.at_us for tick in ticks)
        shared[PUBLISHED] += len(ticks) * fan
        publish(self, ticks, *more)
        begun.set()

    Ingest._publish = publish_and_count  # type: ignore[assignment, method-assign]
    return begun


def end_when_told(shared: memoryview, stop: threading.Event) -> None:
    while not shared[ENOUGH]:
        time.sleep(POLL_SECONDS)
    stop.set()


if __name__ == "__main__":
    main()
