"""A market for benchmarks of orders: accounts with keys, a feed that stands, a real web process.

Quotes of all symbols are renewed ten times a second by a process of their own, always at the same
prices and with more size than anybody takes; it also keeps the market's clock alive. One symbol is
`HOT`: while `is_cheap` is set its price is lower, and whoever waits for that is filled at once.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import cycle
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple

from benchmarks.ordering import Answer, order_request
from benchmarks.processes import GUNICORN, cpu_ns, free_port, running, wait_for

SYMBOLS = [f"S{number:02d}" for number in range(20)]
HOT = "HOT"
ASK, CHEAP_ASK = 1_000_000, 800_000  # in 1/10,000 USD
SIZE = 1_000_000
TURN_SECONDS = 0.1
CASH = Decimal(10**8)
REFUSED_MAX = 0.01

spawned = multiprocessing.get_context("fork")


class Customer(NamedTuple):
    """An account, and the headers that open it."""

    account_id: int
    keys: dict[str, str]

    def order(self, symbol: str, limit: str) -> bytes:
        """The request that buys one share."""
        return order_request(
            self.keys,
            {
                "symbol": symbol, "qty": "1", "side": "buy", "type": "limit",
                "time_in_force": "day", "limit_price": limit,
            },
        )  # fmt: skip


def open_floor(accounts: int) -> list[Customer]:
    """A simulated market that trades around the clock, and so many funded accounts."""
    from django.contrib.auth import get_user_model

    from access.keys import create_key
    from portfolios.accounts import open_account
    from quotes.feeds.base import InstrumentSpec
    from quotes.market import open_market
    from quotes.models import MarketClock

    open_market(
        mode=MarketClock.Mode.SIMULATED,
        source="simulated-bench",
        start_us=time.time_ns() // 1000,
        instruments=[InstrumentSpec(symbol) for symbol in [*SYMBOLS, HOT]],
    )
    user = get_user_model().objects.create(username="bench")
    customers = []
    for _ in range(accounts):
        account = open_account(user=user, cash=CASH, actor="bench")
        key, secret = create_key(account_id=account.pk, user=user, actor="bench")
        keys = {"APCA-API-KEY-ID": key.key_id, "APCA-API-SECRET-KEY": secret}
        customers.append(Customer(account.pk, keys))
    return customers


def orders_of(customers: Sequence[Customer], limit: str) -> Iterator[bytes]:
    """Without end: orders of all customers in turn, each in the next symbol, made beforehand."""
    made = [
        customer.order(symbol, limit)
        for symbol, customer in zip(cycle(SYMBOLS), [*customers] * 3, strict=False)
    ]
    return cycle(made)


# --- the feed -------------------------------------------------------------------------------------


@contextmanager
def feeding() -> Iterator[Event]:
    """Quotes, until it ends; yields what makes `HOT` cheap while it is set."""
    from django.db import connections

    from quotes.streaming.bus import forget_bus

    connections.close_all()  # none is shared with the child
    forget_bus()
    is_cheap = spawned.Event()
    process = spawned.Process(target=_feed, args=(is_cheap,), daemon=True)
    process.start()
    try:
        time.sleep(5 * TURN_SECONDS)
        yield is_cheap
    finally:
        process.terminate()
        process.join(10)


def _feed(is_cheap: Event) -> None:
    from quotes.models import MarketClock

    number, parent, saved_at = 0, os.getppid(), 0.0
    while os.getppid() == parent:
        number += 1
        _feed_once(number, CHEAP_ASK if is_cheap.is_set() else ASK)
        if time.monotonic() - saved_at >= 1:
            saved_at = time.monotonic()
            MarketClock.objects.get(pk=1).save(update_fields=["updated_at"])
        time.sleep(TURN_SECONDS)


def _feed_once(number: int, hot_ask: int) -> None:
    from quotes import latest
    from quotes.streaming.bus import TICK_TOPICS, bus
    from quotes.ticks import Batch, Quote

    at_us = time.time_ns() // 1000
    asks = dict.fromkeys(SYMBOLS, ASK) | {HOT: hot_ask}
    quotes = [
        Quote(symbol, at_us, ask - 100, SIZE, ask, SIZE, number, 1, at_us, "P", "Q")
        for symbol, ask in asks.items()
    ]
    latest.put_many(quotes)
    bus().publish(TICK_TOPICS[0], Batch(tuple(quotes), at_us, 1, number))


# --- the processes --------------------------------------------------------------------------------


class Process(NamedTuple):
    """One that was started, by its session; the port is 0 where it has none."""

    session: int
    port: int = 0

    def cpu_ns(self) -> int:
        return cpu_ns(self.session)


def database_url() -> str:
    """Where the benchmark's own schema lies, for other processes."""
    from django.db import connection

    before, _, _ = os.environ["DATABASE_URL"].rpartition("/")
    return f"{before}/{connection.settings_dict['NAME']}"


@contextmanager
def process(command: list[str], *, listens: bool = False) -> Iterator[Process]:
    """One of Openbell's processes on this floor."""
    port = free_port() if listens else 0
    more = {"DATABASE_URL": database_url(), "RATE_LIMIT_PER_MINUTE": "100000000"}
    with running(command, {**more, "PORT": str(port), "WEB_WORKERS": "1"}) as started:
        if listens:
            wait_for(port)
        yield Process(started.pid, port)


@contextmanager
def web_process() -> Iterator[Process]:
    with process(GUNICORN, listens=True) as web:
        yield web


# --- figures --------------------------------------------------------------------------------------


def check(answers: Sequence[Answer]) -> list[Answer]:
    """Those that were accepted. Raises SystemExit where more than 1 % were not."""
    accepted = [answer for answer in answers if answer.status == 200]
    if len(accepted) < (1 - REFUSED_MAX) * len(answers):
        statuses: Any = sorted({answer.status for answer in answers})
        raise SystemExit(f"{len(answers) - len(accepted)} of {len(answers)} refused: {statuses}")
    return accepted


def at(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
