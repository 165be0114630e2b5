"""What it costs to read an account with a million fills, and how deep into its past.

    deploy/local/servers.sh .venv/bin/python benchmarks/portfolio.py

Fills two accounts of a fresh database, one with `--fills` fills and one with a thousandth of them,
and asks both for what a screen shows, through the whole web stack of one process: middleware, key,
limits, view, JSON. Every position has a quote, a last trade and a year of daily bars. Prints of
`--rounds` answers the median and the 95th percentile in milliseconds of server time, the median of
this process's CPU time (which holds on a busy machine, too), the statements each one made, and the
ratio of the large account's median to the small one's. Below them what a day by minute costs who
asks first, before any of its sums is kept, and, for the ratio, what positions would cost that are
not kept but added up from the fills.

On the database that DATABASE_URL names, in a schema of the benchmark's own; SQLite without it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.own_database import own_database  # noqa: E402

INSTRUMENTS = 50
BY_MINUTE = "portfolio history by minute, one day"
NAIVE = (
    "SELECT instrument_id, SUM(CASE side WHEN 'buy' THEN quantity ELSE -quantity END), SUM(cash)"
    " FROM trading_fill WHERE account_id = %s GROUP BY instrument_id"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fills", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    with own_database() as database:
        measure(database, options.fills, options.rounds)


def measure(database: str, fills: int, rounds: int) -> None:
    from django.db import connection

    began = time.monotonic()
    large, small = busy_trader(fills), busy_trader(max(fills // 1000, 20 * INSTRUMENTS))
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE TABLE trading_fill, trading_order, portfolios_posting")
            cursor.fetchall()
    print(f"{database}, {fills:,} fills written in {time.monotonic() - began:.0f} s")
    print(f"{'':40}{'median':>9}{'p95':>9}{'CPU':>9}{'small':>9}{'ratio':>7}{'queries':>9}")
    for name, path in reads(large).items():
        cost = measured(asking(large.client(), path), rounds)
        beside = measured(asking(small.client(), reads(small)[name]), rounds)
        print(f"{name:40}{cost}{beside.median:9.2f}{cost.median / beside.median:7.2f}", end="")
        print(f"{cost.queries:9}")
    path = reads(large)[BY_MINUTE]
    cost = measured(asking(large.client(), path, forget="moves"), 3)
    print(f"{'(the day by minute, with nothing kept)':40}{cost}{cost.queries:25}")
    naive = [measured(partial(adding_up, one.account.pk), 3) for one in (large, small)]
    print(f"{'(positions added up from fills)':40}{naive[0]}{naive[1].median:9.2f}", end="")
    print(f"{naive[0].median / naive[1].median:7.0f}{naive[0].queries:9}")


def busy_trader(fills: int) -> Any:
    from benchmarks.busy_account import trade_a_lot
    from quotes.models import Instrument
    from tests.people import a_trader
    from tests.portfolios.market import set_market_time
    from tests.trading.floor import NOON

    set_market_time(NOON + timedelta(hours=1))
    trader = a_trader(cash="1000000")
    trader.account.refresh_from_db()
    symbols = [f"S{n}" for n in range(INSTRUMENTS)]
    instruments = [Instrument.objects.get_or_create(symbol=symbol)[0] for symbol in symbols]
    trade_a_lot(trader.account, instruments, fills // INSTRUMENTS * INSTRUMENTS, NOON)
    for instrument in instruments:
        quote(instrument)
    return trader


def quote(instrument: Any) -> None:
    """Give the instrument a market now and a past of a year."""
    from quotes.history import upsert_bars
    from quotes.ticks import Bar
    from tests.portfolios.market import set_trade
    from tests.trading.floor import NOON

    set_trade(instrument.symbol, "101")
    midnight = int(NOON.timestamp()) // 86_400 * 86_400
    prices = (1_000_000,) * 4
    upsert_bars(
        Bar(instrument.symbol, "1Day", midnight - day * 86_400, *prices, 1, 1, 1_000_000)
        for day in range(1, 366)
    )


def reads(trader: Any) -> dict[str, str]:
    """What is asked for, by name; the deep pages begin in the middle of the account's past."""
    from trading.activities import fee_id
    from trading.models import Fill, Order

    account = trader.account
    count = Fill.objects.filter(account=account).count()
    newest = Fill.objects.filter(account=account).order_by("-pk").first()
    assert newest is not None
    middle = Fill.objects.get(pk=newest.pk - count // 2)
    order = Order.objects.get(pk=newest.pk - count // 2)
    every, orders = "/v2/account/activities", "/v2/orders"
    activities, fees = f"{every}/FILL", f"{every}/FEE"
    fee = fee_id(str(middle.execution_id))  # a place among fees, whether or not there is one
    history, held = "/v2/account/portfolio/history", "/v2/positions/S7"
    halfway = account.transaction_sequence // 2
    until = order.submitted_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "account": "/v2/account",
        f"positions ({INSTRUMENTS})": "/v2/positions",
        "activities, first page (100)": activities,
        "activities, a page in the middle": f"{activities}?page_token=0::{middle.execution_id}",
        "the same, oldest first": (
            f"{activities}?direction=asc&page_token=0::{middle.execution_id}"
        ),
        "all activities, first page (100)": every,
        "all activities, oldest first": f"{every}?direction=asc",
        "all activities, a page in the middle": f"{every}?page_token=0::{fee}",
        "all of them before an instant": f"{every}?until={until}",
        "fills and fees after an instant": (
            f"{every}?activity_types=FILL,FEE&direction=asc&after={until}"
        ),
        "fees, first page (100)": fees,
        "fees, a page in the middle": f"{fees}?page_token=0::{fee}",
        "what is behind a position (100)": f"{held}/ledger",
        "the same, a page in the middle": f"{held}/ledger?page_token={halfway}",
        "open lots of a position": f"{held}/lots",
        "portfolio history by day": f"{history}?period=1A&timeframe=1D",
        BY_MINUTE: f"{history}?period=1D&timeframe=1Min",
        "orders, all, first page (50)": f"{orders}?status=all",
        "orders, all, a page in the middle": f"{orders}?status=all&until={until}",
        "orders, closed, first page": f"{orders}?status=closed",
        "orders, closed, a page in the middle": f"{orders}?status=closed&until={until}",
        "orders, open (none)": f"{orders}?status=open",
        "orders of one symbol, first page": f"{orders}?status=all&symbols=S7",
    }


def asking(client: Any, path: str, forget: str = "") -> Callable[[], None]:
    """Without what the cache has kept under that name, if there is one."""
    from django.core.cache import caches

    cache: Any = caches["quotes"]

    def ask() -> None:
        if forget:
            cache.forget(forget)
        answer = client.get(path)
        assert answer.status_code == 200, answer.content

    return ask


def adding_up(account_id: int) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(NAIVE, [account_id])
        cursor.fetchall()


class Cost(NamedTuple):
    """Milliseconds of so many answers, and the statements of one."""

    median: float
    p95: float
    cpu: float
    queries: int

    def __str__(self) -> str:
        return f"{self.median:9.2f}{self.p95:9.2f}{self.cpu:9.2f}"


def measured(job: Callable[[], None], rounds: int) -> Cost:
    """After two to warm up."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    taken, worked = [], []
    for _ in range(rounds + 2):
        began, began_cpu = time.perf_counter(), time.thread_time()
        job()
        worked.append(1_000 * (time.thread_time() - began_cpu))
        taken.append(1_000 * (time.perf_counter() - began))
    with CaptureQueriesContext(connection) as queries:
        job()
    p95 = statistics.quantiles(taken[2:], n=20)[-1] if rounds > 1 else taken[-1]
    return Cost(statistics.median(taken[2:]), p95, statistics.median(worked[2:]), len(queries))


if __name__ == "__main__":
    main()
