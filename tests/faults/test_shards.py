"""Two execution processes that share the shards; one is killed, and another comes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from events.leases import owners
from portfolios.models import Account
from quotes import latest
from quotes.clock import market_clock
from quotes.models import MarketClock
from quotes.streaming.bus import TICK_TOPICS, bus
from quotes.ticks import Batch, Quote
from tests.faults.crash_points import BYSTANDER, Fork
from tests.portfolios.factories import assert_books_balance, funded_account, make_instrument
from tests.waiting import eventually
from trading import orders
from trading.execution import process, sharing
from trading.execution.process import run_execution
from trading.execution.shards import all_shards
from trading.models import Fill, Order, OrderType, Side, TimeInForce
from trading.request import OrderRequest

pytestmark = pytest.mark.django_db(transaction=True)

TICK_SECONDS = 0.02
SYMBOLS = [f"S{n}" for n in range(8)]
DOLLAR = 10_000


def tick() -> None:
    """Move the market of all instruments; each quote's size is fresh."""
    at_us = market_clock().now_us()
    bid = 98 + at_us // 1_000 % 2
    quotes = [
        Quote(symbol, at_us, bid * DOLLAR, 9, (bid + 1) * DOLLAR, 9, at_us, 1, at_us)
        for symbol in SYMBOLS
    ]
    market_clock().observe(at_us)
    latest.put_many(quotes)
    bus().publish(TICK_TOPICS[0], Batch(tuple(quotes), at_us, epoch=1, number=at_us))


def execute_until_told() -> None:
    """Run the execution process beside a market that ticks, until SIGTERM."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())

    def play() -> None:
        while not told.wait(TICK_SECONDS):
            tick()
        connection.close()

    player = threading.Thread(target=play, name=BYSTANDER)
    player.start()
    run_execution(told)
    player.join()


@pytest.fixture
def account(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Account:
    """In a simulated market of four shards, which processes share out quickly."""
    if connection.vendor != "mysql":
        pytest.skip("SQLite serves one process")
    settings.EXECUTION_SHARDS = 4
    monkeypatch.setattr(sharing, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(process, "ASIDE_SECONDS", 1.0)
    for symbol in SYMBOLS:
        make_instrument(symbol)
    row = MarketClock.objects.create(pk=1, mode=MarketClock.Mode.SIMULATED, source="simulated-test")
    market_clock().follow(row)
    tick()
    return funded_account("10000000")


def owned() -> Counter[int]:
    """How many shards each process owns."""
    found = owners([shard.lease_name for shard in all_shards()])
    return Counter(int(owner.split(":")[1]) for owner in found.values())


def trade_everything(account: Account) -> None:
    """Place an order for each instrument; all are filled once."""
    tick()
    placed = [
        orders.submit(account_id=account.pk, request=buy(symbol), actor="test").pk
        for symbol in SYMBOLS
    ]
    mine = Order.objects.filter(pk__in=placed)
    eventually(lambda: set(mine.values_list("status", flat=True)) == {"filled"}, "every fill")
    assert Fill.objects.filter(order__in=placed).count() == len(SYMBOLS)


def buy(symbol: str) -> OrderRequest:
    return OrderRequest(
        symbol=symbol,
        side=Side.BUY,
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        quantity=Decimal(1),
        limit_price=Decimal(100),
    )


def has(*shares: int) -> Callable[[], bool]:
    return lambda: sorted(owned().values()) == list(shares)


def test_shards_of_a_killed_process_go_on_and_are_shared_out_again(
    account: Account, fork: Fork
) -> None:
    first = fork(execute_until_told)
    eventually(has(4), "one process to own all")
    trade_everything(account)

    second = fork(execute_until_told)
    eventually(has(2, 2), "two processes to share")
    trade_everything(account)

    first.send(signal.SIGKILL)
    killed_at = time.monotonic()
    trade_everything(account)
    assert owned() == {second.pid: 4}, f"after {time.monotonic() - killed_at:.1f} s"

    third = fork(execute_until_told)
    eventually(has(2, 2), "the next process to have its share")
    trade_everything(account)

    for each in (second, third):
        os.kill(each.pid, signal.SIGTERM)
        assert each.wait() == 0
    assert owned() == {}, "who ends lets go of its shards"
    assert_books_balance(account)
