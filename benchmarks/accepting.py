"""Places orders by the use case itself, without a web server: what a process does for each of its
requests once it has understood them.

The process is forked for each load and has a few threads, as a web process has; orders leave at
even distances, and one that finds all threads taken leaves late.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Sequence
from itertools import count, cycle
from typing import Any

from benchmarks.order_floor import SYMBOLS, Customer
from benchmarks.ordering import Answer

THREADS = 6
ANSWERS_SECONDS = 60.0

forked = multiprocessing.get_context("fork")


def place(
    customers: Sequence[Customer], limit: str, seconds: float, per_second: float
) -> tuple[list[Answer], int]:
    """Place orders of all customers in turn for so long: their answers, and the process's CPU time
    in nanoseconds."""
    from django.db import connections

    connections.close_all()  # none is shared with the child
    said: Any = forked.Queue()
    child = forked.Process(target=_place, args=(customers, limit, seconds, per_second, said))
    child.start()
    answers, cpu_ns = said.get(timeout=seconds + ANSWERS_SECONDS)
    child.join(10)
    return answers, cpu_ns


def _place(
    customers: Sequence[Customer], limit: str, seconds: float, per_second: float, said: Any
) -> None:
    numbers, answers = count(), list[Answer]()
    orders = [
        (customer.account_id, {
            "symbol": symbol, "qty": "1", "side": "buy", "type": "limit", "time_in_force": "day",
            "limit_price": limit,
        })
        for symbol, customer in zip(cycle(SYMBOLS), [*customers] * 3, strict=False)
    ]  # fmt: skip
    begun = 0.0
    ready = threading.Barrier(THREADS + 1)

    def work() -> None:
        from django.db import connection

        _place_one(*orders[next(numbers) % len(orders)])  # connects and imports; not counted
        ready.wait()
        ready.wait()
        while (number := next(numbers) - THREADS) / per_second < seconds:
            time.sleep(max(0.0, begun + number / per_second - time.monotonic()))
            answers.append(_place_one(*orders[number % len(orders)]))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    ready.wait()
    begun, before = time.monotonic(), time.process_time_ns()
    ready.wait()
    for thread in threads:
        thread.join()
    said.put((answers, time.process_time_ns() - before))


def _place_one(account_id: int, order: dict[str, str]) -> Answer:
    from trading import orders
    from trading.api.serializers import read_order

    sent = time.monotonic()
    placed = orders.submit(account_id=account_id, request=read_order(order), actor="bench")
    return Answer(sent, time.monotonic(), 200, str(placed.public_id))
