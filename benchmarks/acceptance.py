"""Orders accepted per second and core, through gunicorn, beside three usual ways to write one.

    make bench B=acceptance

Openbell takes `POST /v2/orders` with an API key from many accounts over 16 connections, in one web
process with its usual threads: HTTP, key, limits, the body, risk at the latest quote, then in one
transaction the order, its hold and its event, and the news of it. Every order is a limit order that
rests, asked for in plain: whole in one packet and without an Idempotency-Key, as programs that are
in a hurry send it, so it takes the short way before Django (`trading.api.hot`).

*Per core* is a second divided by the CPU time, the kernel's for it included, that all threads of
the web process and its master have for an order: what one core would do that had nothing else to.
Database, Redis and client have theirs beside it. What was reached while all of them shared the
machine stands beside it.

The peers (`benchmarks/peers/order_transactions.py`) write an order straight into the database, from
two processes with eight connections each: no HTTP, nobody's key, no risk. The database flushes its
log at every commit. Medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks import order_floor, ordering
from benchmarks.own_database import own_database

RESTING = "50"  # USD, half of what is asked
WARM_UP_SECONDS = 1.5


class Run(NamedTuple):
    """One measurement; of a peer nobody sees the latencies."""

    per_second: float
    python_us: float
    database_us: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0


def main() -> None:
    options = parse()
    with own_database(with_redis=True) as name, ExitStack() as stack:
        from benchmarks.peers.order_transactions import PEERS, make_tables
        from benchmarks.settlement import ACCOUNTS, place_for

        customers = order_floor.open_floor(options.accounts)
        make_tables(ACCOUNTS)
        stack.enter_context(order_floor.feeding())
        web = stack.enter_context(order_floor.web_process())
        runs: dict[str, list[Run]] = {}
        for _ in range(options.rounds):
            accept(web, customers, WARM_UP_SECONDS)
            mine = accept(web, customers, options.seconds)
            runs.setdefault("Openbell, REST to commit", []).append(mine)
            for peer, place in PEERS.items() if options.peers else ():
                runs.setdefault(peer, []).append(Run(*place_for(place, options.seconds)))
        print_table(name, runs)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each way in each round")
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    return parser.parse_args()


def accept(web: order_floor.Process, customers: list[order_floor.Customer], seconds: float) -> Run:
    """Place resting orders for so long; every one that was answered is stored."""
    from benchmarks.settlement import database_ns
    from trading.models import Order

    before = Order.objects.count()
    python, database, begun = web.cpu_ns(), database_ns(), time.monotonic()
    answers = ordering.place(web.port, order_floor.orders_of(customers, RESTING), seconds)
    elapsed = time.monotonic() - begun
    python, database = web.cpu_ns() - python, database_ns() - database
    accepted = order_floor.check(answers)
    assert Order.objects.count() == before + len(accepted), "acknowledged is stored"
    latencies = [answer.seconds * 1000 for answer in accepted]
    return Run(
        len(accepted) / elapsed,
        python / len(accepted) / 1000,
        database / len(accepted) / 1000,
        order_floor.at(latencies, 0.5),
        order_floor.at(latencies, 0.99),
    )


def print_table(name: str, runs: dict[str, list[Run]]) -> None:
    print(f"\norders made durable, {name}, median of the rounds")
    print(
        f"{'':32}{'reached/s':>10}{'Python µs':>11}{'per core/s':>12}{'database µs':>13}"
        f"{'p50':>9}{'p99':>9}"
    )
    for way, of_way in runs.items():
        run = Run(*map(statistics.median, zip(*of_way, strict=True)))
        waits = f"{run.p50_ms:7.1f}ms{run.p99_ms:7.1f}ms" if run.p50_ms else ""
        print(
            f"{way:32}{run.per_second:10,.0f}{run.python_us:11,.0f}"
            f"{1e6 / run.python_us:12,.0f}{run.database_us:13,.0f}{waits}"
        )


if __name__ == "__main__":
    main()
