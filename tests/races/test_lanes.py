"""Batches settled in two transactions at once: each part by itself, and only for the owner."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from events import leases, models
from events.leases import DatabaseTime, Lease, LeaseLost, acquire, seize
from portfolios.models import Account
from tests.meeting import WAIT_SECONDS_MAX, LockedAccount, only_with_row_locks
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import TradingFloor, now_of
from trading.execution import lanes, pending, settlement
from trading.execution.decisions import Decision
from trading.execution.engines import engine_for
from trading.execution.process import LEASE_NAME
from trading.models import Fill, Order

pytestmark = pytest.mark.django_db(transaction=True)

LANE = f"{LEASE_NAME}/1"


@pytest.fixture
def floor(monkeypatch: pytest.MonkeyPatch) -> Iterator[TradingFloor]:
    only_with_row_locks()
    monkeypatch.setattr(lanes, "WORTH_A_LANE", 1)
    floor = TradingFloor(lanes=2)
    floor.show()
    yield floor
    floor.restart()


@pytest.fixture
def accounts(floor: TradingFloor) -> list[Account]:
    """Some for each lane, whose parts are told apart by id."""
    return [funded_account("10000") for _ in range(4)]


def settle_one_each(floor: TradingFloor, accounts: list[Account]) -> list[Order]:
    """An order of each account; they are admitted and filled in one batch."""
    orders = [floor.buy(account, "1") for account in accounts]
    floor.engine.admissions.admit_accepted(set())
    floor.engine.pending.settle()
    return orders


def seen_in(monkeypatch: pytest.MonkeyPatch) -> dict[int, set[int]]:
    """By database connection: whose accounts are settled over it, from now on."""
    seen: dict[int, set[int]] = {}
    settle = settlement.settle

    def note(batch: list[Decision], **how: Any) -> settlement.Outcome:
        accounts = {one.account_id for one in batch}
        seen.setdefault(connection.connection.thread_id(), set()).update(accounts)
        return settle(batch, **how)

    monkeypatch.setattr(pending, "settle", note)
    return seen


def test_each_account_is_settled_by_one_lane(
    floor: TradingFloor, accounts: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = seen_in(monkeypatch)
    orders = settle_one_each(floor, accounts)

    assert [now_of(order).status for order in orders] == ["filled"] * 4
    assert sorted(map(len, seen.values())) == [2, 2]
    assert set.union(*seen.values()) == {account.pk for account in accounts}
    assert_books_balance(*accounts)


def test_a_locked_account_holds_up_neither_lane(
    floor: TradingFloor, accounts: list[Account]
) -> None:
    orders = [floor.buy(account, "1") for account in accounts]
    floor.engine.admissions.admit_accepted(set())
    with LockedAccount(accounts[1]) as lock:
        floor.engine.pending.settle()
        statuses = [now_of(order).status for order in orders]
        assert statuses == ["filled", "accepted", "filled", "filled"]
        lock.let_go()
        floor.engine.drain()
    assert now_of(orders[1]).status == "filled"
    assert_books_balance(*accounts)


def test_a_lane_that_fails_undoes_nothing_of_the_other(
    floor: TradingFloor, accounts: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, bad = settlement.settle, accounts[0].pk

    def fail(batch: list[Decision], **how: Any) -> settlement.Outcome:
        if any(one.account_id == bad for one in batch):
            raise ValueError("something in here is wrong")
        return settle(batch, **how)

    monkeypatch.setattr(pending, "settle", fail)
    first, *others = settle_one_each(floor, accounts)
    assert [now_of(order).status for order in others] == ["filled"] * 3
    assert now_of(first).status == "accepted"

    monkeypatch.setattr(pending, "settle", settle)
    floor.engine.drain()
    assert now_of(first).status == "filled"
    assert_books_balance(*accounts)


def test_who_takes_over_ends_a_lane_in_the_middle(
    floor: TradingFloor, accounts: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former owner stands still with a lane's rows written and not committed."""
    orders = [floor.buy(account, "1") for account in accounts]
    former = floor.engine
    former.admissions.admit_accepted(set())
    written, go_on = threading.Event(), threading.Event()
    main, write = threading.get_ident(), settlement._Books.write

    def stop_in_the_lane(books: Any) -> None:
        write(books)
        if threading.get_ident() != main:
            written.set()
            go_on.wait(WAIT_SECONDS_MAX)

    monkeypatch.setattr(settlement._Books, "write", stop_in_the_lane)
    with pytest.MonkeyPatch.context() as of_main:  # the main lane comes after the takeover
        parts = former.pending.lanes.parts(list(former.pending._queue))
        begun = former.pending.lanes._others[0].begin([parts[1]], former.pending._write)
        assert written.wait(WAIT_SECONDS_MAX)
        models.Lease.objects.filter(name=LEASE_NAME).update(expires_at=DatabaseTime(-0.1))
        lease = acquire(LEASE_NAME)
        assert lease is not None
        of_main.setattr(settlement._Books, "write", write)
        current = engine_for(lease, lanes=2)
    go_on.set()

    ((_, outcome),) = begun.result(WAIT_SECONDS_MAX)
    assert not isinstance(outcome, settlement.Outcome)
    assert Fill.objects.count() == 0
    with pytest.raises(LeaseLost):
        former.pending.settle()
    current.admissions.admit_accepted(set())
    current.drain()
    current.pending.lease.release()
    current.close()
    assert [now_of(order).status for order in orders] == ["filled"] * 4
    assert_books_balance(*accounts)


def test_the_shard_stays_owned_while_another_lane_has_more_to_do(
    floor: TradingFloor, accounts: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other lane has not begun when its owner's own is done."""
    monkeypatch.setattr(lanes, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    lease = floor.engine.pending.lease
    settle, main = settlement.settle, threading.get_ident()
    own_is_done, renewed = threading.Event(), threading.Event()
    renew = Lease.renew

    def note(of: Lease) -> None:
        renew(of)
        if of is lease and own_is_done.is_set():
            renewed.set()

    def wait_for_renewal(batch: list[Decision], **how: Any) -> settlement.Outcome:
        if threading.get_ident() != main:
            assert renewed.wait(WAIT_SECONDS_MAX), "nobody renews the lease of the shard"
        outcome = settle(batch, **how)
        if threading.get_ident() == main:
            own_is_done.set()
        return outcome

    monkeypatch.setattr(Lease, "renew", note)
    monkeypatch.setattr(pending, "settle", wait_for_renewal)
    orders = settle_one_each(floor, accounts)
    assert [now_of(order).status for order in orders] == ["filled"] * 4


def test_a_former_owner_takes_no_lane_back(floor: TradingFloor) -> None:
    former = floor.engine.pending.lease
    models.Lease.objects.filter(name=LEASE_NAME).update(expires_at=DatabaseTime(-0.1))
    lease = acquire(LEASE_NAME)
    assert lease is not None
    ours = seize(LANE, lease)

    with pytest.raises(LeaseLost):
        seize(LANE, former)
    ours.renew()
