"""Fills settled per second, durably, beside three usual ways to write a filled order.

    deploy/local/servers.sh .venv/bin/python -m benchmarks.settlement

Openbell settles fills as its execution process does: micro-batches of decisions, each in two
transactions at once, that lock the lease, the accounts and the orders, and write the fill, its
postings, the position, the lot, the order, the account and the event. One process, two connections,
many accounts. Then two such processes, each with a shard of the instruments: with accounts of its
own, and with accounts that all trade in both shards at the same time, which is the worst there is.
The peers (`benchmarks/peers/order_transactions.py`) write less for an order, each in a transaction
of its own, from two processes with eight connections each. The database flushes its log at every
commit. Printed are medians over the rounds; CPU is per fill or order, of Python and of the database
server.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.own_database import own_database

ACCOUNTS, SYMBOLS = 400, 20
PROCESSES, CONNECTIONS_EACH = 2, 8
PREPARED_SECONDS_MAX = 120.0
ONE = "Openbell, one process"
TWO = "Openbell, two with a shard each"
BOTH = "the same, all accounts in both"
QUANTITY, LIMIT, ASK = Decimal(10), Decimal(100), 1_000_000

numbers = count(1)


class Run(NamedTuple):
    """One measurement of one way."""

    per_second: float
    python_us: float
    database_us: float


def main() -> None:
    options = parse()
    with own_database() as name:
        from benchmarks.peers.order_transactions import PEERS, make_tables

        make_tables(ACCOUNTS)
        market = Market()
        ways: dict[str, Callable[[], Run]] = {
            ONE: lambda: settle_in(1, market, options.fills),
            TWO: lambda: settle_in(2, market, options.fills),
            BOTH: lambda: settle_in(2, market, options.fills, accounts_in_both=True),
        }
        for peer, place in PEERS.items():
            ways[peer] = lambda place=place: place_for(place, options.seconds)  # type: ignore[misc]
        runs: dict[str, list[Run]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, measure in ways.items():
                runs[way].append(measure())
        print_table(name, runs)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fills", type=int, default=8_000, help="in each round")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a peer in each round")
    return parser.parse_args()


class Market:
    """Accounts and instruments, as execution processes have them."""

    def __init__(self) -> None:
        from django.contrib.auth import get_user_model

        from portfolios.models import Account
        from quotes.clock import market_clock
        from quotes.models import Instrument

        user = get_user_model().objects.create(username="bench")
        now = datetime.now(UTC)
        Account.objects.bulk_create(
            Account(number=f"PA{n:08d}", user=user, cash=Decimal(10**9), created_at=now)
            for n in range(ACCOUNTS)
        )
        self.accounts = list(Account.objects.order_by("pk"))
        for n in range(SYMBOLS):
            Instrument.objects.create(symbol=f"S{n:02d}")
        self.instruments = {each.pk: each for each in Instrument.objects.order_by("pk")}
        self.calendar = market_clock().calendar

    @contextmanager
    def executed(self, shard: Any) -> Iterator[Any]:
        """The decisions that wait in a process that owns the shard."""
        from events.leases import acquire
        from trading.execution.pending import Pending
        from trading.execution.process import lanes

        lease = acquire(shard.lease_name)
        assert lease is not None, "nobody else has it"
        pending = Pending(lease, self.instruments, self.calendar, lanes())
        pending.lanes.take_over()
        yield pending
        pending.lanes.close()
        lease.release()

    def executions(self, shard: Any, run: int, fills: int, accounts: list[Any]) -> list[Any]:
        """Admitted orders of the accounts in turn, and the decisions that fill each of them."""
        from quotes.ticks import Quote, to_micros
        from trading.execution.certificate import working_order
        from trading.execution.decisions import Execution
        from trading.execution.matching import FillModel, Match, match

        made = []
        for row in self._orders(shard, run, fills, accounts):
            working = working_order(row, self.instruments[row.instrument_id].symbol)
            at_us, number = to_micros(row.submitted_at), next(numbers)
            quote = Quote(
                working.symbol, at_us, ASK - 100, 500, ASK, 500, number, 1, at_us, "P", "Q"
            )
            found = match(working, quote, 0)
            assert isinstance(found, Match)
            working.take(found)
            made.append(Execution(working, at_us, quote, found, 1, True, FillModel.NBBO))
        return made

    def _orders(self, shard: Any, run: int, fills: int, accounts: list[Any]) -> Iterable[Any]:
        from django.db.models import F

        from portfolios.models import Account
        from trading.models import Order, OrderStatus, OrderType, Side, TimeInForce

        assert fills % len(accounts) == 0, "every account has as many"
        now = datetime.now(UTC)
        ids = [pk for pk, instrument in self.instruments.items() if shard.has(instrument.symbol)]
        name = f"{run}-{shard.number}"
        rows = [
            Order(
                account=accounts[n % len(accounts)],
                instrument_id=ids[n // len(accounts) % len(ids)],
                client_order_id=f"{name}-{n}", side=Side.BUY, type=OrderType.LIMIT,
                time_in_force=TimeInForce.DAY, quantity=QUANTITY, limit_price=LIMIT,
                status=OrderStatus.NEW, hold_cash=QUANTITY * LIMIT, submitted_at=now,
                updated_at=now, recorded_at=now,
            )
            for n in range(fills)
        ]  # fmt: skip
        Order.objects.bulk_create(rows, batch_size=500)
        held = QUANTITY * LIMIT * (fills // len(accounts))
        theirs = Account.objects.filter(pk__in=[account.pk for account in accounts])
        theirs.update(hold_cash=F("hold_cash") + int(held * 10_000))
        return Order.objects.filter(client_order_id__startswith=f"{name}-").order_by("pk")


def settle_in(processes: int, market: Market, fills: int, *, accounts_in_both: bool = False) -> Run:
    """Settle that many fills in so many processes, each with a shard of the instruments."""
    from trading.execution.shards import Shard
    from trading.models import Fill

    before, run = Fill.objects.count(), next(numbers)
    context = multiprocessing.get_context("fork")
    start, spent = context.Barrier(processes + 1), context.Queue()
    workers = [
        context.Process(
            target=_settle,
            args=(
                market, Shard(number, processes), run, fills // processes,
                market.accounts if accounts_in_both else market.accounts[number::processes],
                start, spent,
            ),
        )
        for number in range(processes)
    ]  # fmt: skip
    close_connections()
    for worker in workers:
        worker.start()
    database_ns()  # connects
    start.wait(PREPARED_SECONDS_MAX)
    database, begun = database_ns(), time.perf_counter()
    python = [spent.get(timeout=PREPARED_SECONDS_MAX) for _ in workers]
    seconds, database = time.perf_counter() - begun, database_ns() - database
    for worker in workers:
        worker.join(10)
    assert Fill.objects.count() == before + fills, "every fill is stored, once"
    return Run(fills / seconds, sum(python) / fills / 1000, database / fills / 1000)


def _settle(
    market: Market, shard: Any, run: int, fills: int, accounts: list[Any], start: Any, spent: Any
) -> None:
    from trading.execution.process import BUSY_SECONDS, collect_rarely

    collect_rarely()
    with market.executed(shard) as pending:
        for decision in market.executions(shard, run, fills, accounts):
            pending.add(decision)
        start.wait(PREPARED_SECONDS_MAX)
        python = time.process_time_ns()
        pending.settle()
        while len(pending):  # accounts that the other has locked just now
            time.sleep(BUSY_SECONDS)
            pending.settle()
        spent.put(time.process_time_ns() - python)
    close_connections()


def place_for(place: Callable[[int], None], seconds: float) -> Run:
    """Place orders from all connections at once, for so long."""
    context = multiprocessing.get_context("fork")
    done: Any = context.Queue()
    before, begun = database_ns(), time.perf_counter()
    close_connections()
    workers = [
        context.Process(target=_place_in_threads, args=(place, seconds, number, done))
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    outcomes = [done.get(timeout=seconds + 60) for _ in workers]
    elapsed = time.perf_counter() - begun
    for worker in workers:
        worker.join(10)
    orders = sum(placed for placed, _ in outcomes)
    python_ns = sum(spent for _, spent in outcomes)
    spent = database_ns() - before
    return Run(orders / elapsed, python_ns / orders / 1000, spent / orders / 1000)


def _place_in_threads(place: Callable[[int], None], seconds: float, number: int, done: Any) -> None:
    until = time.monotonic() + seconds
    placed = [0] * CONNECTIONS_EACH

    def work(thread: int) -> None:
        from django.db import connection

        mine = range(number * CONNECTIONS_EACH + thread, ACCOUNTS, PROCESSES * CONNECTIONS_EACH)
        while time.monotonic() < until:
            for account in mine:
                place(account + 1)
                placed[thread] += 1
        connection.close()

    before = time.process_time_ns()
    threads = [threading.Thread(target=work, args=(each,)) for each in range(CONNECTIONS_EACH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.put((sum(placed), time.process_time_ns() - before))


def close_connections() -> None:
    """So that none is shared with a child."""
    from django.db import connections

    connections.close_all()


def database_ns() -> int:
    """CPU time that all threads of the database server have had, those that ended apart."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT @@pid_file")
        pid = int(Path(cursor.fetchone()[0]).read_text())
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 10_000_000  # ticks of 10 ms, ended threads too


def print_table(name: str, runs: dict[str, list[Run]]) -> None:
    print(f"\nfilled orders made durable, {name}, median of the rounds")
    print(f"{'':32}{'per second':>12}{'× ORM':>8}{'Python µs':>11}{'database µs':>13}")
    medians = {
        way: Run(*map(statistics.median, zip(*of_way, strict=True))) for way, of_way in runs.items()
    }
    orm = next(run for way, run in medians.items() if way.startswith("ORM"))
    for way, run in medians.items():
        times = run.per_second / orm.per_second
        print(
            f"{way:32}{run.per_second:12,.0f}{times:8.1f}{run.python_us:11.0f}{run.database_us:13.0f}"
        )
    ratio = medians[TWO].per_second / medians[ONE].per_second
    print(f"two execution processes settle {ratio:.2f} times as many fills as one")


if __name__ == "__main__":
    main()
