"""Execution and relay, killed between any two statements; and stopped there, which is worse.

The test places orders, which is to say that they are acknowledged: they are committed. Then the
real process executes them on a market that ticks, and strikes itself at the n-th point it passes:
before a statement, or before, within or after a COMMIT. Another takes over and finishes. All points
of a run are tried one after the other, every `STRIDE`-th in the short form.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection

from events import leases
from events.models import Event, Lease
from portfolios.models import Account
from quotes import latest
from quotes.clock import market_clock
from quotes.models import MarketClock
from quotes.streaming.bus import TICK_TOPICS, bus
from quotes.ticks import Batch, Quote
from tests.conftest import LONG
from tests.faults.crash_points import (
    BYSTANDER,
    TAKEOVER_SECONDS_MAX,
    WAIT_SECONDS_MAX,
    Armed,
    Fork,
    Forked,
    owner_of,
)
from tests.portfolios.factories import assert_books_balance, funded_account, make_instrument
from tests.trading.floor import now_of
from tests.waiting import eventually
from trading import orders
from trading.execution import admission, engine
from trading.execution.process import LEASE_NAME, run_execution
from trading.models import Fill, Leg, Order, OrderClass, OrderType, Side, TimeInForce
from trading.orders import accepted_order
from trading.request import OrderRequest

pytestmark = pytest.mark.django_db(transaction=True)

# The lease, and what a busy disk takes to load a book and to settle.
ADMITTED_SECONDS_MAX = 2 * TAKEOVER_SECONDS_MAX
TICK_SECONDS = 0.01
STRIDE = 1 if LONG else 7
POINTS_MAX = 500
TAKEOVERS = 20 if LONG else 2
SIZE = 4  # shares at the touch: an order for ten needs three quotes
DOLLAR = 10_000

# What a process of the whole run is killed at, among much else.
STATEMENTS = (
    "UPDATE events_lease SET epoch",
    "UPDATE events_lease SET expires_at",
    "INSERT INTO trading_fill",
    "INSERT INTO portfolios_posting",
    "INSERT INTO events_event",
    "UPDATE portfolios_account",
    "UPDATE trading_order",
    "before COMMIT",
    "after COMMIT",
)
# Where an owner stops: the n-th time that it is about to do that.
STOPS = [
    pytest.param(1, "INSERT INTO trading_fill", id="holding every lock of a settlement"),
    pytest.param(2, "within COMMIT", id="in the middle of a commit", marks=pytest.mark.long),
    pytest.param(
        2, "UPDATE events_lease SET expires_at", id="about to renew", marks=pytest.mark.long
    ),
]

BUY = OrderRequest(
    symbol="AAPL",
    side=Side.BUY,
    type=OrderType.LIMIT,
    time_in_force=TimeInForce.DAY,
    quantity=Decimal(10),
    limit_price=Decimal(100),
)
# What is asked of the engine, and how it has to end.
ASKED = {
    "in parts": (BUY, "filled"),
    "at the market": (
        replace(BUY, type=OrderType.MARKET, quantity=Decimal(3), limit_price=None),
        "filled",
    ),
    # By the operator, who alone may sell what the same account is buying.
    "sold again": (
        replace(BUY, side=Side.SELL, quantity=Decimal(5), limit_price=Decimal(97), is_forced=True),
        "filled",
    ),
    "at once": (replace(BUY, time_in_force=TimeInForce.IOC, limit_price=Decimal(50)), "canceled"),
    "resting": (replace(BUY, limit_price=Decimal(60)), "new"),
    "too late": (replace(BUY, limit_price=Decimal(61)), "expired"),
    "with exits": (
        replace(
            BUY,
            quantity=Decimal(5),
            order_class=OrderClass.BRACKET,
            take_profit=Decimal(99),
            stop_loss=Decimal(50),
        ),
        "filled",
    ),
}
EXITS = {Leg.TAKE_PROFIT.value: "filled", Leg.STOP_LOSS.value: "canceled"}
ENDS = {name: end for name, (_, end) in ASKED.items()} | EXITS


@pytest.fixture(autouse=True)
def _nobody_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that is to be executed at once is not canceled because the machine is busy."""
    monkeypatch.setattr(admission, "IMMEDIATE_WALL_SECONDS", 600.0)


# --- a market, and orders in it -----------------------------------------------------------------


def tick() -> None:
    """Move the market: each quote has another price, so its size is fresh."""
    at_us = market_clock().now_us()
    bid = 98 + at_us // 1_000 % 2
    quote = Quote("AAPL", at_us, bid * DOLLAR, SIZE, (bid + 1) * DOLLAR, SIZE, at_us, 1, at_us)
    market_clock().observe(at_us)
    latest.put_many([quote])
    bus().publish(TICK_TOPICS[0], Batch((quote,), at_us, epoch=1, number=at_us))


@pytest.fixture
def market() -> None:
    """A simulated market, which trades around the clock."""
    make_instrument("AAPL")
    row = MarketClock.objects.create(pk=1, mode=MarketClock.Mode.SIMULATED, source="simulated-test")
    market_clock().follow(row)
    tick()


def place(account: Account) -> dict[str, Order]:
    """Place every order that is asked for; when this returns they are acknowledged."""
    tick()
    placed = {}
    for name, (request, _) in ASKED.items():
        is_late = name == "too late"
        with patch("trading.orders.accepted_order", too_late) if is_late else nullcontext():
            placed[name] = orders.submit(account_id=account.pk, request=request, actor="test")
    exits = Order.objects.filter(parent=placed["with exits"])
    return placed | {order.leg: order for order in exits}


def too_late(*asked: Any) -> Order:
    """An order that has expired when it is stored, so that no engine knows it otherwise."""
    order = accepted_order(*asked)
    order.expires_at = datetime.now(UTC)
    return order


def is_done(placed: dict[str, Order]) -> bool:
    rows = Order.objects.filter(pk__in=[order.pk for order in placed.values()])
    statuses = dict(rows.values_list("pk", "status"))
    return all(statuses[order.pk] == ENDS[name] for name, order in placed.items())


def assert_executed(placed: dict[str, Order], when: str) -> None:
    """Every order has ended as it must, told its owner so once, and no fill is lost or doubled."""
    assert placed.keys() == ENDS.keys()
    for name, end in ENDS.items():
        order = now_of(placed[name])
        said = f"{name}, {when}"
        fills = list(Fill.objects.filter(order=order).order_by("number"))
        assert [fill.number for fill in fills] == [*range(1, order.fill_count + 1)], said
        wanted = order.quantity if end == "filled" else 0
        assert sum(fill.quantity for fill in fills) == order.filled_quantity == wanted, said
        expected = expected_kinds(end, len(fills))
        if name == Leg.TAKE_PROFIT:
            expected = [["held", *kinds[1:]] for kinds in expected]
        elif name == Leg.STOP_LOSS:  # after each part of the other it has less to do
            parts = now_of(placed[Leg.TAKE_PROFIT.value]).fill_count - 1
            expected = [["held", "new", *["restated"] * parts, "canceled"]]
        assert kinds_of(order) in expected, said


def assert_kept(account: Account) -> None:
    """No event is missing and the books agree."""
    numbers = Event.objects.filter(account_id=account.pk).order_by("account_sequence")
    assert list(numbers.values_list("account_sequence", flat=True)) == [*range(1, len(numbers) + 1)]
    assert_books_balance(account)


def kinds_of(order: Order) -> list[str]:
    events = Event.objects.filter(subject=f"order:{order.public_id}").order_by("account_sequence")
    return [kind.rpartition(".")[2] for kind in events.values_list("kind", flat=True)]


def expected_kinds(end: str, fills: int) -> list[list[str]]:
    """What its owner may have been told; an order may expire before the book or in it."""
    if end == "filled":
        return [["accepted", "new", *["partial_fill"] * (fills - 1), "fill"]]
    if end == "expired":
        return [["accepted", "expired"], ["accepted", "new", "expired"]]
    return [["accepted", "new", "canceled"] if end == "canceled" else ["accepted", "new"]]


# --- the execution process ----------------------------------------------------------------------


def execute(until: Callable[[], bool]) -> None:
    """Run the execution process beside a market that ticks, until that is so."""
    stop = threading.Event()

    def play() -> None:
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not until() and time.monotonic() < deadline:
            tick()
            time.sleep(TICK_SECONDS)
        stop.set()
        tick()  # wakes whoever waits for news
        connection.close()

    player = threading.Thread(target=play, name=BYSTANDER)
    player.start()
    run_execution(stop)
    player.join()


def execute_in_haste(until: Callable[[], bool]) -> None:
    """So that it renews its lease and looks around often, and nobody waits for what it leaves."""
    leases.RENEW_SECONDS = leases.EXPIRE_SECONDS = 0.05
    engine.POLL_SECONDS = engine.REFRESH_SECONDS = 0.1
    execute(until)


def execute_until_told() -> None:
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    execute(told.is_set)


@pytest.fixture
def account(market: None, fork: Fork) -> Account:
    """With shares to sell."""
    account = funded_account("10000000")
    order = orders.submit(account_id=account.pk, request=BUY, actor="test")
    assert fork(lambda: execute(lambda: now_of(order).status == "filled")).wait() == 0
    return account


def test_execution_is_killed_between_any_two_statements(account: Account, fork: Fork) -> None:
    struck = []
    for point in range(1, POINTS_MAX, STRIDE):
        where = killed_at(Armed(point), account, fork)
        if where is None:
            break
        struck.append(where)
    else:
        pytest.fail(f"a run has more than {POINTS_MAX} points")
    assert len(struck) > 40 // STRIDE
    # How often it renews depends on the machine, so that the points of two runs differ.
    missing = [each for each in STATEMENTS if not any(each in where for where in struck)]
    for statement in missing if STRIDE == 1 else []:
        assert killed_at(Armed(1, only=statement), account, fork), f"never killed at {statement}"
    assert_kept(account)


def killed_at(armed: Armed, account: Account, fork: Fork) -> str | None:
    """Where an execution process was killed, whose work another has finished; None if it lived."""
    placed = place(account)
    done = partial(is_done, placed)
    owner = fork(partial(execute_in_haste, done), armed)
    if owner.wait() == 0:
        return None
    where = owner.struck_at()
    assert owner.result == -signal.SIGKILL, where
    assert fork(partial(execute, done)).wait() == 0, where
    assert_executed(placed, f"killed at {where}")
    return where


def test_the_standby_executes_within_two_seconds(account: Account, fork: Fork) -> None:
    owner, standby = fork(execute_until_told), fork(execute_until_told)
    for _ in range(TAKEOVERS):
        finish(place(account))
        if owner_of(LEASE_NAME) == standby.pid:
            owner, standby = standby, owner
        lose(owner, standby, account)
        owner, standby = standby, fork(execute_until_told)
    assert_kept(account)


def lose(owner: Forked, standby: Forked, account: Account) -> None:
    """From the kill to the lease, and to an order that was placed while nobody was there."""
    killed_at = time.monotonic()
    owner.send(signal.SIGKILL)
    placed = place(account)
    eventually(lambda: owner_of(LEASE_NAME) == standby.pid, "the standby")
    taken_over = time.monotonic() - killed_at
    assert taken_over < TAKEOVER_SECONDS_MAX
    eventually(lambda: now_of(placed["in parts"]).status != "accepted", "the first order")
    assert time.monotonic() - killed_at < ADMITTED_SECONDS_MAX, f"lease: {taken_over:.2f} s"
    finish(placed)


def finish(placed: dict[str, Order], when: str = "") -> None:
    eventually(lambda: is_done(placed), f"execution {when}")
    assert_executed(placed, when)


@pytest.mark.skipif("connection.vendor != 'mysql'", reason="SQLite serves one process")
@pytest.mark.parametrize(("point", "where"), STOPS)
def test_a_stopped_owner_does_no_harm_when_it_goes_on(
    account: Account, fork: Fork, point: int, where: str
) -> None:
    placed = place(account)
    stopped = fork(execute_until_told, Armed(point, signal.SIGSTOP, only=where))
    stopped.wait_for_stop()
    stopped_at = time.monotonic()
    standby = fork(execute_until_told)
    eventually(lambda: owner_of(LEASE_NAME) == standby.pid, "the standby")
    assert time.monotonic() - stopped_at < TAKEOVER_SECONDS_MAX
    epoch = Lease.objects.get(name=LEASE_NAME).epoch
    finish(placed, "while the former owner stands still")

    stopped.send(signal.SIGCONT)
    finish(place(account), "beside the former owner")
    assert Lease.objects.get(name=LEASE_NAME).epoch == epoch

    standby.send(signal.SIGKILL)
    finish(place(account), "by the former owner")
    assert owner_of(LEASE_NAME) == stopped.pid
    assert_kept(account)
