"""How often a latest quote comes from the cache, and what that saves the database.

    deploy/local/servers.sh .venv/bin/python benchmarks/hit_rate.py

Sixteen threads ask as screens do that poll a watchlist: `latest.get_many` of 20 symbols, drawn by
Zipf's law (the n-th symbol 1/n as often as the first) from 1,000; one symbol in 200 is one of 20
that have no quote, as after a slip of the pen or on the eve of a listing. A feed puts 100 quotes
ten times a second, of symbols drawn the same way, so that the quiet ones are only in the table.

Keys live as they do in production: a quote until the next one, the absence of one for seconds. The
cache begins empty, and halfway everything in it is lost, as when Redis is started anew. Then, in
the same run and with the same mix, the table answers alone. Printed: requests, the share of symbols
found (from the counters that /metrics shows), SELECTs as MariaDB counts them (one of them on each
new connection, Django's), and how many fewer those are per request with the cache.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.own_database import own_database  # noqa: E402
from benchmarks.stampede import selects  # noqa: E402

SYMBOLS = [f"SYM{number:03d}" for number in range(1_000)]
NOWHERE = [f"NONE{number}" for number in range(20)]
LISTED, NOWHERE_SHARE = 20, 1 / 200
THREADS = 16
FEED_SECONDS, FEED_QUOTES = 0.1, 100
WEIGHTS = list(itertools.accumulate(1 / (place + 1) for place in range(len(SYMBOLS))))


class Run(NamedTuple):
    """What one way of answering did."""

    requests: int
    selects: int
    hits: float
    misses: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="a quarter without the cache")
    options = parser.parse_args()
    with own_database(with_redis=True) as database:
        from quotes import latest
        from quotes.latest import rows

        fill_table()
        latest.store().clear()
        with_cache = run(latest.get_many, options.requests, halfway=latest.store().clear)
        without = run(rows.load, options.requests // 4)
        latest.store().clear()
    print_table(database, with_cache, without)


def fill_table() -> None:
    from django.db import transaction

    from quotes.latest import Latest, rows
    from quotes.models import Instrument
    from quotes.ticks import Trade

    Instrument.objects.bulk_create([Instrument(symbol=each) for each in [*SYMBOLS, *NOWHERE]])
    traded = {each: Trade(each, 1, 1_000_050, 100, 1, 1) for each in SYMBOLS}
    with transaction.atomic():
        rows.save({each: Latest(quote(each, 1), traded[each]) for each in SYMBOLS})


def quote(symbol: str, number: int) -> Any:
    from quotes.ticks import Quote

    return Quote(symbol, number, 1_000_000 + number % 1_000, 300, 1_001_000, 200, number, 1)


def run(
    ask: Callable[[list[str]], Any], requests: int, halfway: Callable[[], None] = lambda: None
) -> Run:
    """Everybody asks, so often in all; `halfway` happens in the middle."""
    before, (hits, misses) = selects(), counted()
    stop = threading.Event()
    feeding = threading.Thread(target=feed, args=(stop,))
    feeding.start()
    half = requests // 2 // THREADS
    for first in (True, False):
        threads = [threading.Thread(target=poll, args=(ask, half)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if first:
            halfway()
    stop.set()
    feeding.join()
    hits_after, misses_after = counted()
    sent = selects() - before
    return Run(2 * half * THREADS, sent, hits_after - hits, misses_after - misses)


def poll(ask: Callable[[list[str]], Any], times: int) -> None:
    from django.db import connection

    dice = random.Random()
    for _ in range(times):
        symbols = dice.choices(SYMBOLS, cum_weights=WEIGHTS, k=LISTED)
        if dice.random() < LISTED * NOWHERE_SHARE:
            symbols[-1] = dice.choice(NOWHERE)
        found = ask(symbols)
        assert all(found[each].quote for each in symbols if each not in NOWHERE)
    connection.close()


def feed(stop: threading.Event) -> None:
    from quotes import latest

    dice, numbers = random.Random("feed"), itertools.count(2)
    while not stop.wait(FEED_SECONDS):
        some = dice.choices(SYMBOLS, cum_weights=WEIGHTS, k=FEED_QUOTES)
        latest.put_many([quote(each, next(numbers)) for each in some])


def counted() -> tuple[float, float]:
    """Hits and misses until now."""
    from prometheus_client import REGISTRY

    labels = {"namespace": "latest"}
    hits, misses = (
        REGISTRY.get_sample_value(f"openbell_cache_{name}_total", labels) or 0.0
        for name in ("hits", "misses")
    )
    return hits, misses


def print_table(database: str, with_cache: Run, without: Run) -> None:
    rate = with_cache.hits / (with_cache.hits + with_cache.misses)
    per_request = [some.selects / some.requests for some in (with_cache, without)]
    print(f"\n{LISTED} of {len(SYMBOLS):,} symbols by Zipf's law, {THREADS} threads, {database}")
    print(f"{'':16}{'requests':>10}{'hit rate':>10}{'misses':>9}{'SELECTs':>10}{'a request':>11}")
    print(
        f"{'with the cache':16}{with_cache.requests:10,}{100 * rate:9.2f}%"
        f"{with_cache.misses:9,.0f}{with_cache.selects:10,}{per_request[0]:11.4f}"
    )
    print(f"{'without':16}{without.requests:10,}{'':19}{without.selects:10,}{per_request[1]:11.4f}")
    print(f"{100 * (1 - per_request[0] / per_request[1]):.1f} % fewer queries with the cache")


if __name__ == "__main__":
    main()
