"""How fast a day of ticks is written to the history, and how long a look into it takes.

    deploy/local/servers.sh .venv/bin/python benchmarks/tick_history.py
    .venv/bin/python benchmarks/tick_history.py                          # on SQLite

Writes `--ticks` ticks of one day the way the feed's process does, from a backlog through the
history's own thread: first those of the recorded day under `--data`, if it is there, then made-up
ones of fifty more symbols. Then asks for pages by time range, each time of another symbol from
another instant on, and prints the medians in milliseconds: of the query, and of the whole answer
of the REST API.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.own_database import own_database  # noqa: E402

DAY = date(2013, 10, 7)
OPENING_US = int(datetime(2013, 10, 7, 13, 30, tzinfo=UTC).timestamp()) * 1_000_000
SESSION_US = int(6.5 * 3600) * 1_000_000
MINUTE_US = 60_000_000
MADE_UP = [f"GEN{n:02}" for n in range(50)]
BATCH = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "lean")
    parser.add_argument("--ticks", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    with own_database() as database:
        ticks = [*recorded(options.data, options.ticks)]
        print(f"{database}: {len(ticks):,} recorded ticks, the rest made up")
        ticks += made_up(options.ticks - len(ticks))
        ticks.sort(key=lambda tick: tick.at_us)
        write(ticks)
        ask(sorted({tick.symbol for tick in ticks}), options.rounds)


def recorded(folder: Path, most: int) -> Iterator[Any]:
    """The recorded day's ticks, as the feed reads them; none without the recording."""
    from quotes.feeds.lean import LeanFeed

    if not (folder / "equity" / "usa").is_dir():
        return
    feed = LeanFeed(str(folder), DAY)
    feed.epoch = 1
    while most > 0 and (ticks := feed.read(2**62, min(most, 20_000))):
        most -= len(ticks)
        yield from ticks
    feed.close()


def made_up(count: int) -> Iterator[Any]:
    """Trades and quotes of fifty symbols in turn, spread over the session."""
    from quotes.ticks import Quote, Trade

    for n in range(count):
        symbol, at_us = MADE_UP[n // 2 % len(MADE_UP)], OPENING_US + n * SESSION_US // count
        price, number = 1_000_000 + n % 997 * 100, n // 2 // len(MADE_UP) + 1
        if n % 2:
            yield Trade(symbol, at_us, price, 100, number, 1, at_us, "Q", ("@",))
        else:
            yield Quote(symbol, at_us, price, 3, price + 100, 5, number, 1, at_us, "P", "Q")


def write(ticks: Sequence[Any]) -> None:
    """Through a backlog that waits, as a replay's does, and the thread that empties it."""
    from events import leases
    from quotes import history
    from quotes.feeds.base import InstrumentSpec
    from quotes.tick_history.backlog import PLACES, Backlog
    from quotes.tick_history.historian import Historian

    history.enlist(InstrumentSpec(symbol) for symbol in {tick.symbol for tick in ticks})
    lease = leases.acquire("feed:0")
    assert lease is not None
    backlog = Backlog(waits=True)
    historian = Historian(backlog, lease, days=1)
    began, began_cpu = time.monotonic(), time.process_time()
    historian.start()
    for start in range(0, len(ticks), BATCH):
        while backlog.waiting >= PLACES:
            time.sleep(0.005)
        backlog.offer(list(ticks[start : start + BATCH]))
    while backlog.waiting:
        time.sleep(0.005)
    historian.leave()
    seconds, cpu = time.monotonic() - began, time.process_time() - began_cpu
    print(f"written in {seconds:.1f} s: {len(ticks) / seconds:,.0f} ticks/s, ", end="")
    print(f"{1e6 * cpu / len(ticks):.1f} µs of this process's CPU each")


def ask(symbols: list[str], rounds: int) -> None:
    from quotes.tick_history import store
    from tests.people import a_trader
    from tests.portfolios.market import set_market_time

    set_market_time(datetime(2013, 10, 7, 22, tzinfo=UTC))
    client = a_trader().client()
    chance = random.Random(7)

    def query(minutes: int, limit: int, *, descending: bool = False, kind: Any = None) -> None:
        first_us = OPENING_US + chance.randrange(SESSION_US)
        last_us, symbol = first_us + minutes * MINUTE_US, chance.choice(symbols)
        store.page(
            kind or store.QUOTES, [symbol], first_us, last_us, limit=limit, descending=descending,
            after=(symbol, last_us if descending else first_us, 0),
        )  # fmt: skip

    def answer() -> None:
        start = datetime.fromtimestamp(OPENING_US / 1e6 + chance.randrange(23_000), UTC)
        path = f"/v2/stocks/{chance.choice(symbols)}/trades?start={start:%Y-%m-%dT%H:%M:%SZ}"
        assert client.get(f"{path}&limit=100").status_code == 200

    show("quotes of a minute, 1,000 at most", lambda: query(1, 1_000), rounds)
    show("trades of a minute, 1,000 at most", lambda: query(1, 1_000, kind=store.TRADES), rounds)
    show("a page of 100 from an hour", lambda: query(60, 100), rounds)
    show("the same, newest first", lambda: query(60, 100, descending=True), rounds)
    show("a page of 10,000 from the rest of the day", lambda: query(400, 10_000), rounds)
    show("REST: a page of 100 trades", answer, rounds)


def show(name: str, job: Callable[[], None], rounds: int) -> None:
    """The median and the slowest of so many, after one to warm up."""
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        job()
        taken.append(1_000 * (time.perf_counter() - began))
    print(f"{name:44} median {statistics.median(taken[1:]):8.2f} ms  max {max(taken[1:]):8.2f} ms")


if __name__ == "__main__":
    main()
