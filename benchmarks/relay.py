"""How long the relay keeps everybody else from writing, and how fast it chains.

    .venv/bin/python benchmarks/relay.py                                 # on SQLite
    deploy/local/servers.sh .venv/bin/python benchmarks/relay.py

Writes `--events` events of a hundred accounts and chains them the way the relay's process does, one
transaction after the other. Prints in milliseconds how long such a transaction took, which on
SQLite is how long other writers wait for it (10 ms are wanted), and a look for what waits.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.own_database import own_database  # noqa: E402

ACCOUNTS = 100
PAYLOAD = {"event": "fill", "price": "187.2300", "qty": "10", "order": {"id": "x" * 36}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    options = parser.parse_args()
    with own_database() as database:
        write(options.events)
        print(f"{database}: {options.events:,} events of {ACCOUNTS} accounts")
        looks, slices, cpu_seconds = chain_all()
        print(f"{'ms':12}{'times':>8}{'median':>9}{'p95':>9}{'longest':>9}")
        show("look", looks)
        show("transaction", slices)
        show("of it CPU", cpu_seconds)
        print(f"{options.events / (sum(looks) + sum(slices)):,.0f} events a second")


def write(count: int) -> None:
    from django.db import transaction

    from events import log

    accounts = [SimpleNamespace(pk=n + 1, event_sequence=0) for n in range(ACCOUNTS)]
    for start in range(0, count, 500):
        numbers = range(start, min(start + 500, count))
        with transaction.atomic():
            log.record_many(
                log.draft(
                    "test.happened",
                    actor="bench",
                    account=accounts[n % ACCOUNTS],
                    payload=PAYLOAD,
                )
                for n in numbers
            )


def chain_all() -> tuple[list[float], list[float], list[float]]:
    """Seconds of each look, of each transaction, and of CPU in each transaction."""
    from events import chain, relay
    from events.leases import acquire
    from events.models import ChainHead

    lease = acquire(relay.LEASE_NAME)
    assert lease is not None
    ChainHead.objects.create(pk=ChainHead.ONLY, sequence=0, hash=chain.GENESIS)
    looks, slices, cpu_seconds = [], [], []
    while True:
        begun = time.perf_counter()
        waiting = relay.unchained(relay.AHEAD)
        looks.append(time.perf_counter() - begun)
        if not waiting:
            break
        for start in range(0, len(waiting), relay.BATCH):
            begun, cpu_begun = time.perf_counter(), time.thread_time()
            relay.sequence(lease, waiting[start : start + relay.BATCH])
            slices.append(time.perf_counter() - begun)
            cpu_seconds.append(time.thread_time() - cpu_begun)
    assert chain.verify() is None
    return looks, slices, cpu_seconds


def show(name: str, seconds: Sequence[float]) -> None:
    times = sorted(each * 1_000 for each in seconds)
    p95 = times[int(len(times) * 0.95)]
    print(f"{name:12}{len(times):8}{statistics.median(times):9.2f}{p95:9.2f}{times[-1]:9.2f}")


if __name__ == "__main__":
    main()
