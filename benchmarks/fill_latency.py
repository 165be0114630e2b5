"""How long after its acknowledgement an order is filled, at so many orders a second.

    make bench B=fill_latency

Marketable limit orders of many accounts are accepted at an even pace; the execution process admits,
matches and settles them. Counted is from the moment of the acknowledgement, which is when the
acceptance has been committed and returns, to the moment the trade update of the fill is heard on
the bus, which is published after its commit: both on this machine's one clock. A fill that is heard
before its acknowledgement counts as 0.

Orders come in two ways: from the use case itself, in a process of its own, and through a web
process by HTTP, which takes its own half of a core from the same machine.

Then the same again while one account has `--hot` orders resting that fill all at once, a second
after the others have begun: what that does to the others is the second row, and the third is how
long the hot account's own took from the price that let them.

Client, web, execution, database and Redis share this machine, so the pace that was reached is
printed. CPU is of the process, per order.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import repeat
from typing import Any, NamedTuple

from benchmarks import accepting, order_floor, ordering
from benchmarks.order_floor import Customer, Process, at
from benchmarks.ordering import Answer
from benchmarks.own_database import own_database
from benchmarks.processes import EXECUTION

MARKETABLE, RESTING = "101", "90"  # USD; `order_floor.HOT` is asked at 100, and when cheap at 80
BATCH_SECONDS = 0.25
FILLED_SECONDS = 30.0
CHEAP_AFTER_SECONDS = 1.0
HEARD_MAX = 100_000


class Run(NamedTuple):
    """What came of one load."""

    per_second: float
    latencies_ms: Sequence[float]
    answers_ms: Sequence[float]
    accepting_us: float
    execution_us: float


class Ear:
    """When the fill of each order was heard, by the order's id."""

    def __init__(self, customers: Sequence[Customer]) -> None:
        self.filled: dict[str, float] = {}
        self._accounts = [customer.account_id for customer in customers]
        self._over, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()))

    @contextmanager
    def listening(self) -> Iterator[None]:
        self._thread.start()
        assert self._ready.wait(10)
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def wait_for(self, order_ids: Sequence[str]) -> None:
        """Until all are filled. Raises SystemExit where that takes too long."""
        until = time.monotonic() + FILLED_SECONDS
        while missing := sum(each not in self.filled for each in order_ids):
            if time.monotonic() > until:
                raise SystemExit(f"{missing} orders were not filled in {FILLED_SECONDS:.0f} s")
            time.sleep(BATCH_SECONDS)

    async def _listen(self) -> None:
        from quotes.streaming.bus import WhenFull, account_topic, bus

        topics = [account_topic(each) for each in self._accounts]
        heard = bus().subscribe(topics, limit=HEARD_MAX, when_full=WhenFull.DROP_OLDEST)
        await heard.ready(10)
        self._ready.set()
        while not self._over.is_set():
            for _, news in await heard.get_many(BATCH_SECONDS):
                update = news["update"]
                if update and update["event"] == "fill":
                    self.filled[update["order"]["id"]] = time.monotonic()
        heard.close()


class Market:
    """The processes, and the customers of both kinds."""

    def __init__(self, customers: list[Customer], web: Process, execution: Process) -> None:
        self.hot, *self.others = customers
        self.web, self.execution = web, execution
        self.ear = Ear(customers)

    def trade(self, per_second: float, seconds: float, *, by_http: bool = True) -> Run:
        """The others' orders at this pace."""
        execution = self.execution.cpu_ns()
        place = self._place_by_http if by_http else self._place
        answers, accepting = place(seconds, per_second)
        elapsed = answers[-1].answered - answers[0].sent
        accepted = order_floor.check(answers)
        self.ear.wait_for([answer.order_id for answer in accepted])
        spent = [accepting, self.execution.cpu_ns() - execution]
        filled = self.ear.filled
        return Run(
            len(accepted) / elapsed,
            [max(0.0, filled[each.order_id] - each.answered) * 1000 for each in accepted],
            [each.seconds * 1000 for each in accepted],
            *(each / len(accepted) / 1000 for each in spent),
        )

    def _place_by_http(self, seconds: float, per_second: float) -> tuple[list[Answer], int]:
        before = self.web.cpu_ns()
        requests = order_floor.orders_of(self.others, MARKETABLE)
        answers = ordering.place(self.web.port, requests, seconds, per_second=per_second)
        return answers, self.web.cpu_ns() - before

    def _place(self, seconds: float, per_second: float) -> tuple[list[Answer], int]:
        return accepting.place(self.others, MARKETABLE, seconds, per_second)

    def rest(self, count: int) -> list[str]:
        """So many resting orders of the hot account; their ids."""
        requests = repeat(self.hot.order(order_floor.HOT, RESTING), count)
        answers = ordering.place(self.web.port, requests, FILLED_SECONDS, connections=2)
        return [answer.order_id for answer in order_floor.check(answers)]


def main() -> None:
    options = parse()
    with own_database(with_redis=True) as name, ExitStack() as stack:
        customers = order_floor.open_floor(options.accounts + 1)
        is_cheap = stack.enter_context(order_floor.feeding())
        web = stack.enter_context(order_floor.web_process())
        execution = stack.enter_context(order_floor.process(EXECUTION))
        market = Market(customers, web, execution)
        stack.enter_context(market.ear.listening())
        for by_http in (True, False):
            market.trade(options.per_second / 4, 2, by_http=by_http)  # all are awake
        print_head(name, options)
        pace = options.per_second
        print_row(f"{pace:.0f}/s, use case", market.trade(pace, options.seconds, by_http=False))
        for pace in (options.per_second, options.per_second / 2, options.per_second / 4):
            print_row(f"{pace:.0f}/s, HTTP", market.trade(pace, options.seconds))
        resting = market.rest(options.hot)
        cheap_at = _later(is_cheap.set)
        print_row(f"{pace:.0f}/s, HTTP, beside a hot one", market.trade(pace, options.seconds))
        market.ear.wait_for(resting)
        took = [(market.ear.filled[each] - cheap_at[0]) * 1000 for each in resting]
        said = f"p50 {at(took, 0.5):.0f} ms, p99 {at(took, 0.99):.0f} ms"
        print(f"the hot account's {len(took)} fills, from the price on: {said}")


def _later(act: Any) -> list[float]:
    """Do it once the others trade; when that was, from then on."""
    done_at: list[float] = []

    def run() -> None:
        time.sleep(CHEAP_AFTER_SECONDS)
        done_at.append(time.monotonic())
        act()

    threading.Thread(target=run).start()
    return done_at


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-second", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--hot", type=int, default=1_000, help="orders of the hot account")
    return parser.parse_args()


def print_head(name: str, options: argparse.Namespace) -> None:
    print(f"\nfrom the acknowledgement to the fill, {name}, {options.accounts} accounts")
    print(
        f"{'':32}{'reached/s':>10}{'fill p50':>10}{'p99':>8}{'ack p50':>12}{'p99':>8}"
        f"{'accepting µs':>14}{'execution µs':>14}"
    )


def print_row(name: str, run: Run) -> None:
    fills, answers = run.latencies_ms, run.answers_ms
    print(
        f"{name:32}{run.per_second:10,.0f}{at(fills, 0.5):8.1f}ms{at(fills, 0.99):6.0f}ms"
        f"{at(answers, 0.5):10.1f}ms{at(answers, 0.99):6.0f}ms"
        f"{run.accepting_us:14,.0f}{run.execution_us:14,.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
