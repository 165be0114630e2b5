"""The execution process as it is deployed: a thread with its loop, on a market that moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from django.db import connections

from events import leases
from events.leases import acquire, owner_of
from events.models import Lease
from portfolios.models import Account
from quotes import latest
from quotes.clock import market_clock
from quotes.models import MarketClock
from quotes.streaming.bus import TICK_TOPICS, bus
from quotes.ticks import Batch, Quote
from tests.portfolios.factories import assert_books_balance, funded_account, make_instrument
from tests.trading.floor import now_of
from tests.waiting import PATIENCE_SECONDS, eventually
from trading import orders
from trading.execution.process import LEASE_NAME, run_execution
from trading.models import Order, OrderType, Side, TimeInForce
from trading.request import OrderRequest

pytestmark = pytest.mark.django_db(transaction=True)

DOLLAR = 10_000


class Market:
    """A simulated market, open around the clock, that ticks when a test says so."""

    def __init__(self) -> None:
        make_instrument("AAPL")
        self.sequence = 0
        row = MarketClock.objects.create(
            pk=1, mode=MarketClock.Mode.SIMULATED, source="simulated-test"
        )
        market_clock().follow(row)

    def tick(self, bid: int = 99, ask: int = 100, size: int = 1_000) -> None:
        self.sequence += 1
        at_us = market_clock().now_us()
        quote = Quote(
            "AAPL", at_us, bid * DOLLAR, size, ask * DOLLAR, size, self.sequence, 1, at_us
        )
        market_clock().observe(at_us)
        latest.put_many([quote])
        bus().publish(TICK_TOPICS[0], Batch((quote,), at_us, epoch=1, number=self.sequence))

    def heartbeat(self) -> None:
        at_us = market_clock().now_us()
        bus().publish(TICK_TOPICS[0], Batch((), at_us, epoch=1))


@pytest.fixture
def market() -> Market:
    return Market()


@pytest.fixture
def account(market: Market) -> Account:
    return funded_account("100000")


@contextmanager
def execution() -> Iterator[threading.Event]:
    """The process, up and owning its lease until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=run_execution, args=(stop,), daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def limit_buy(account: Account, price: int = 100, **changes: object) -> Order:
    request = OrderRequest(
        symbol="AAPL",
        side=Side.BUY,
        type=OrderType.LIMIT,
        time_in_force=changes.pop("time_in_force", TimeInForce.DAY),  # type: ignore[arg-type]
        quantity=Order._meta.get_field("quantity").to_python(10),
        limit_price=Order._meta.get_field("limit_price").to_python(price),
    )
    return orders.submit(account_id=account.pk, request=request, actor="test")


def wait_for_quote(market: Market, account: Account) -> None:
    """Return once the engine hears ticks: it has filled an order."""
    first = limit_buy(account)

    def filled() -> bool:
        market.tick()
        time.sleep(0.02)
        return now_of(first).status == "filled"

    eventually(filled, "the engine to start")


def test_an_accepted_order_fills_at_once(market: Market, account: Account) -> None:
    with execution():
        wait_for_quote(market, account)
        with patch("trading.execution.engine.POLL_SECONDS", 600.0):  # nobody waits for the poll
            for _ in range(5):
                market.tick()
                order = limit_buy(account)
                eventually(lambda order=order: now_of(order).status == "filled")
    assert_books_balance(account)


def test_the_safety_poll_finds_an_order_that_the_bus_lost(market: Market, account: Account) -> None:
    with execution():
        wait_for_quote(market, account)
        with patch("trading.updates._news", lambda order: {"status": "lost"}):
            order = limit_buy(account, price=90)
        eventually(lambda: now_of(order).status == "new")


def test_a_canceled_order_is_never_filled(market: Market, account: Account) -> None:
    with execution():
        wait_for_quote(market, account)
        order = limit_buy(account, price=95)
        eventually(lambda: now_of(order).status == "new")
        orders.cancel(account_id=account.pk, order_id=order.public_id, actor="test")
        market.tick(93, 94)
        witness = limit_buy(account, price=94)
        eventually(lambda: now_of(witness).status == "filled")
    assert (now_of(order).status, now_of(order).fill_count) == ("canceled", 0)
    assert_books_balance(account)


def test_an_ioc_that_waited_too_long_is_canceled_with_that_reason(
    market: Market, account: Account
) -> None:
    order = limit_buy(account, time_in_force=TimeInForce.IOC)
    long_ago = datetime.now(UTC) - timedelta(seconds=6)
    Order.objects.filter(pk=order.pk).update(recorded_at=long_ago)
    with execution():
        eventually(lambda: now_of(order).status == "canceled")
    assert "within 5 s" in now_of(order).reason
    assert_books_balance(account)


@patch("trading.execution.admission.IMMEDIATE_WALL_SECONDS", 600.0)
def test_an_ioc_meets_the_first_quote_after_a_takeover(market: Market, account: Account) -> None:
    order = limit_buy(account, time_in_force=TimeInForce.IOC)
    after = limit_buy(account, price=90)
    with execution():
        eventually(lambda: now_of(after).status == "new", "the orders to be taken in")
        assert now_of(order).status == "accepted"
        eventually(lambda: market.tick() or now_of(order).status != "accepted")
    assert now_of(order).status == "filled"
    assert_books_balance(account)


def test_nothing_fills_while_the_feed_is_silent(market: Market, account: Account) -> None:
    with execution():
        wait_for_quote(market, account)
        silent = threading.Event()
        silent.set()
        with patch.object(type(market_clock()), "feed_is_silent", lambda clock: silent.is_set()):
            order = limit_buy(account)
            eventually(lambda: now_of(order).status == "new")
            eventually(lambda: "silent" in now_of(order).reason)
            silent.clear()
            eventually(lambda: now_of(order).status == "filled")
    assert_books_balance(account)


def test_a_standby_takes_over_from_an_owner_that_went(
    market: Market,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "events.leases")
    monkeypatch.setattr(leases, "EXPIRE_SECONDS", 600.0)
    with ThreadPoolExecutor(1) as another:  # whose connection the standby will end
        gone = another.submit(acquire, LEASE_NAME).result()
        another.submit(connections.close_all).result()
    assert gone is not None
    order = limit_buy(account, price=90)
    with execution():
        eventually(lambda: "standing by" in caplog.text, "the standby to find the lease taken")
        assert now_of(order).status == "accepted"
        Lease.objects.filter(name=LEASE_NAME).update(expires_at=leases.DatabaseTime(-0.1))
        eventually(lambda: now_of(order).status == "new", "the standby to take over")
    assert Lease.objects.get(name=LEASE_NAME).epoch == gone.epoch + 1


def test_it_lets_go_of_its_shard_when_told_even_without_a_market(transactional_db: None) -> None:
    with execution():
        eventually(lambda: owner_of(LEASE_NAME) is not None, "an owner")
    assert owner_of(LEASE_NAME) is None
