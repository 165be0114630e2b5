"""Engines that meet on one shard, and an engine with much to do: one owner, which stays it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from events import leases, models
from events.leases import DatabaseTime, LeaseLost, acquire
from portfolios.models import Account
from quotes.ticks import to_micros
from tests.meeting import LockedAccount, only_with_row_locks, together
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import CLOSE, TradingFloor, now_of
from trading.execution import intake, pending, settlement
from trading.execution.decisions import Decision
from trading.execution.engine import Engine
from trading.execution.engines import engine_for
from trading.execution.pending import TRIES_MAX
from trading.execution.process import LEASE_NAME
from trading.models import Fill, Order

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 5


def run_out() -> None:
    """Let the lease's time be over, as if its owner had stopped."""
    models.Lease.objects.filter(name=LEASE_NAME).update(expires_at=DatabaseTime(-0.1))


def successor() -> Engine:
    """An engine that takes over because the owner's lease has run out."""
    run_out()
    lease = acquire(LEASE_NAME)
    assert lease is not None
    return engine_for(lease)


def test_of_two_engines_with_the_same_decisions_one_settles(
    floor: TradingFloor, account: Account
) -> None:
    for _ in range(ROUNDS):
        order = floor.buy(account, "1")
        former = floor.engine
        former.admissions.admit_accepted(set())
        current = successor()
        current.admissions.admit_accepted(set())
        assert len(former.pending) == len(current.pending) == 2  # admission and fill

        lost, fine = together(former.drain, current.drain, expected=LeaseLost)

        assert isinstance(lost, LeaseLost)
        assert fine is None
        assert (now_of(order).status, Fill.objects.filter(order=order).count()) == ("filled", 1)
        current.pending.lease.release()
        floor.restart()
    assert_books_balance(account)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each settlement that waits for locks: whether the lease lasts as it begins."""
    monkeypatch.setattr(leases, "EXPIRE_SECONDS", 600.0)
    monkeypatch.setattr(pending, "WAIT_AGAIN_SECONDS", 600.0)
    waits: list[bool] = []
    settle = settlement.settle

    def note(batch: list[Decision], *, wait: bool, **how: Any) -> settlement.Outcome:
        if wait:
            waits.append(leases.owner_of(LEASE_NAME) is not None)
        return settle(batch, wait=wait, **how)

    monkeypatch.setattr(pending, "settle", note)
    return waits


def test_an_account_that_stays_locked_costs_neither_the_lease_nor_the_market(
    floor: TradingFloor, account: Account, waits: list[bool]
) -> None:
    only_with_row_locks()
    locked_order = floor.buy(account, "1")
    with LockedAccount(account) as lock:
        wait_in_vain(floor.engine)
        assert waits == [True]
        free = floor.buy(other := funded_account(), "1")
        floor.engine.admissions.admit_accepted(floor.engine.pending.orders())
        floor.engine.pending.settle()
        assert now_of(free).status == "filled"
        assert waits == [True]  # it does not wait again
        lock.let_go()
        floor.engine.drain()
    assert now_of(locked_order).status == "filled"
    assert_books_balance(account, other)


def test_a_lease_outlasts_a_wait_for_a_lock() -> None:
    """Nobody else sees what is renewed by a transaction that waits."""
    assert settlement.LOCK_WAIT_SECONDS < leases.EXPIRE_SECONDS


def wait_in_vain(engine: Engine) -> None:
    """Let it settle, its lease about to be lost, until it has waited for the lock."""
    engine.admissions.admit_accepted(set())
    for _ in range(TRIES_MAX):
        engine.pending.settle()
    run_out()
    with pytest.raises(OperationalError, match="Lock wait timeout"):
        engine.pending.settle()
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@innodb_lock_wait_timeout")
        assert cursor.fetchone() == (settlement.LOCK_WAIT_SECONDS,)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewals are due always, and work comes in slices of one."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.0)
    monkeypatch.setattr(intake, "ADMITTED_MAX", 1)


def renewals(queries: CaptureQueriesContext) -> int:
    return sum("UPDATE" in query["sql"] and "events_lease" in query["sql"] for query in queries)


def test_an_engine_with_much_to_take_in_keeps_its_lease(
    floor: TradingFloor, account: Account, eager: None
) -> None:
    for _ in range(5):
        floor.buy(account, "1", limit="60")
    with CaptureQueriesContext(connection) as queries:
        floor.engine.admissions.admit_accepted(set(), floor.engine._breathe)
    assert renewals(queries) == 5
    floor.engine.drain()

    with CaptureQueriesContext(connection) as queries:
        successor()
    assert renewals(queries) >= 1 + 5  # one takes over


def test_an_engine_that_expires_many_orders_keeps_its_lease(
    floor: TradingFloor, eager: None
) -> None:
    for _ in range(3):
        floor.buy(funded_account(), "1", limit="60")
    floor.pass_time(seconds=1)
    with CaptureQueriesContext(connection) as queries:
        floor.engine._expire(to_micros(CLOSE))
    assert renewals(queries) == 3
    assert set(Order.objects.values_list("status", flat=True)) == {"expired"}


def test_no_more_decisions_wait_than_may(
    floor: TradingFloor, account: Account, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "PENDING_MAX", 2)
    for _ in range(5):
        floor.buy(account, "1", limit="60")
    floor.engine.admissions.admit_accepted(set(), floor.engine._breathe)
    assert len(floor.engine.pending) < 2
