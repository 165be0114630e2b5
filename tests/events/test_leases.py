"""One owner at a time, by the database's clock, and a former owner changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, transaction

from events import leases, models
from events.leases import DatabaseTime, Lease, LeaseLost, acquire, retire, seize, wait_for
from tests.meeting import WAIT_SECONDS_MAX, together

pytestmark = pytest.mark.django_db

mysql_only = pytest.mark.skipif("connection.vendor != 'mysql'", reason="ends MySQL connections")


@pytest.fixture(autouse=True)
def _no_owner_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lease runs out because the machine is busy: `expire` says when one does."""
    monkeypatch.setattr(leases, "EXPIRE_SECONDS", 600.0)


def expire(name: str) -> None:
    """Let the lease's time run out, as if its owner had stopped."""
    models.Lease.objects.filter(name=name).update(expires_at=DatabaseTime(-0.1))


def owned(name: str, owner: str) -> Lease:
    lease = acquire(name, owner)
    assert lease is not None
    return lease


def test_first_to_ask_becomes_the_owner() -> None:
    lease = owned("feed:0", "a")

    assert (lease.epoch, lease.owner) == (1, "a")
    assert acquire("feed:0", "b") is None
    assert acquire("execution:0", "b") is not None


def test_expired_lease_is_taken_over_with_a_higher_epoch() -> None:
    first = owned("feed:0", "a")
    expire("feed:0")

    second = owned("feed:0", "b")

    assert second.epoch == first.epoch + 1
    assert models.Lease.objects.get(name="feed:0").owner == "b"


def test_former_owner_may_not_write() -> None:
    former = owned("feed:0", "a")
    expire("feed:0")
    owned("feed:0", "b")

    with pytest.raises(LeaseLost, match="epoch 1 of a"), transaction.atomic():
        former.lock_and_check()


def test_late_owner_goes_on_where_nobody_took_over() -> None:
    lease = owned("feed:0", "a")
    expire("feed:0")

    with transaction.atomic():
        lease.lock_and_check()

    assert acquire("feed:0", "b") is None


def test_checking_outside_a_transaction_is_a_bug(transactional_db: None) -> None:
    lease = owned("feed:0", "a")
    with pytest.raises(AssertionError):
        lease.lock_and_check()


def test_renewal_keeps_the_others_out_and_waits_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 600.0)
    lease = owned("feed:0", "a")
    expire("feed:0")

    lease.renew_if_due()
    assert acquire("feed:0", "a standby's look") is not None, "not due yet, so not renewed"

    late = owned("relay", "a")
    expire("relay")
    late.renewed_at -= 601.0
    late.renew_if_due()
    assert acquire("relay", "b") is None


def test_a_lease_counts_from_before_the_trip_that_renews_it() -> None:
    """What goes with it may wait for locks, and the row's time runs from the first statement."""
    lease = owned("feed:0", "a")
    with transaction.atomic():
        renewal = lease.locked_and_checked()
        renewal.statement(connection, [])
        waited = time.monotonic()
        renewal.answer((), 1, DEFAULT_DB_ALIAS)

    assert lease.renewed_at <= waited


def test_released_lease_is_free_at_once() -> None:
    owned("feed:0", "a").release()
    assert owned("feed:0", "b").epoch == 2


def test_releasing_another_owners_lease_does_nothing() -> None:
    former = owned("feed:0", "a")
    expire("feed:0")
    owned("feed:0", "b")

    former.release()

    assert acquire("feed:0", "c") is None


def test_lease_expires_by_database_time() -> None:
    owned("feed:0", "a")
    row = models.Lease.objects.annotate(now=DatabaseTime()).get(name="feed:0")
    assert row.expires_at is not None
    assert 0 < (row.expires_at - row.now).total_seconds() <= leases.EXPIRE_SECONDS


def test_standby_waits_until_it_may_own_or_is_told_to_stop() -> None:
    owned("feed:0", "a")
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()

    assert wait_for("feed:0", stop, "b") is None

    expire("feed:0")
    assert wait_for("feed:0", threading.Event(), "b") is not None


@pytest.mark.django_db(transaction=True)
def test_only_one_of_many_standbys_takes_over() -> None:
    models.Lease.objects.create(name="feed:0", owner="a", epoch=1)  # stopped long ago

    taken = together(*(partial(acquire, "feed:0", f"standby {n}") for n in range(6)))

    assert [lease.epoch for lease in taken if lease is not None] == [2]


@mysql_only
@pytest.mark.django_db(transaction=True)
def test_take_over_ends_the_connection_of_a_stopped_owner() -> None:
    locked, go_on = threading.Event(), threading.Event()
    outcome: list[BaseException] = []

    def stop_inside_a_transaction() -> None:
        try:
            lease = owned("feed:0", "stopped")
            expire("feed:0")  # as committed; its renewal is not
            with transaction.atomic():
                lease.lock_and_check()
                locked.set()
                go_on.wait(WAIT_SECONDS_MAX)
                models.Lease.objects.filter(name="feed:0").update(owner="too late")
        except BaseException as error:
            outcome.append(error)
        finally:
            connection.close()

    owner = threading.Thread(target=stop_inside_a_transaction)
    owner.start()
    assert locked.wait(WAIT_SECONDS_MAX)

    successor = owned("feed:0", "b")
    go_on.set()
    owner.join(WAIT_SECONDS_MAX)

    assert successor.epoch == 2
    assert isinstance(outcome[0], OperationalError)
    assert models.Lease.objects.get(name="feed:0").owner == "b"


@mysql_only
@pytest.mark.django_db(transaction=True)
def test_whoever_let_go_keeps_the_connection() -> None:
    """An execution process that has given a shard away still serves the others over it."""
    owned("feed:0", "a").release()
    successor = threading.Thread(target=lambda: (owned("feed:0", "b"), connection.close()))
    successor.start()
    successor.join(WAIT_SECONDS_MAX)

    assert models.Lease.objects.get(name="feed:0").owner == "b"


# --- the lease of a lane ------------------------------------------------------------------------


def before_raising(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once, when the next lane is about to be taken: after the check."""
    raise_epoch = leases._raise_epoch

    def wait_before(name: str, *args: Any, **how: Any) -> Lease | None:
        if "/" in name:
            monkeypatch.setattr(leases, "_raise_epoch", raise_epoch)
            happens()
        return raise_epoch(name, *args, **how)

    monkeypatch.setattr(leases, "_raise_epoch", wait_before)


def test_who_looked_before_the_successor_took_the_lane_does_not_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    former = owned("execution:0", "a")
    taken: list[Lease] = []

    def take_over() -> None:
        expire("execution:0")
        taken.append(seize("execution:0/1", owned("execution:0", "b")))

    before_raising(monkeypatch, take_over)
    with pytest.raises(LeaseLost, match="execution:0: epoch 1 of a"):
        seize("execution:0/1", former)
    taken[0].renew()


def test_a_lane_that_a_former_owner_still_got_is_taken_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    former = owned("execution:0", "a")
    taken: list[Lease] = []

    def take_over() -> None:
        expire("execution:0")
        taken.append(owned("execution:0", "b"))

    before_raising(monkeypatch, take_over)
    theirs = seize("execution:0/1", former)
    ours = seize("execution:0/1", taken[0])
    with pytest.raises(LeaseLost):
        theirs.renew()
    ours.renew()


@mysql_only
@pytest.mark.django_db(transaction=True)
def test_an_owner_that_stands_still_as_it_takes_a_lane_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lane is taken over another connection than the one that the shard's row names."""
    former = owned("execution:0", "a")
    stopped, go_on = threading.Event(), threading.Event()
    outcome: list[object] = []

    def stand_still() -> None:
        stopped.set()
        assert go_on.wait(WAIT_SECONDS_MAX)

    def take_the_lane() -> None:
        try:
            outcome.append(seize("execution:0/1", former))
        except LeaseLost as lost:
            outcome.append(lost)
        finally:
            connection.close()

    before_raising(monkeypatch, stand_still)
    lane = threading.Thread(target=take_the_lane)
    lane.start()
    try:
        assert stopped.wait(WAIT_SECONDS_MAX)
        expire("execution:0")
        ours = seize("execution:0/1", owned("execution:0", "b"))
    finally:
        go_on.set()
        lane.join(WAIT_SECONDS_MAX)

    assert isinstance(outcome[0], LeaseLost)
    ours.renew()


@pytest.mark.django_db(transaction=True)
def test_each_statement_that_takes_a_lease_commits_itself() -> None:
    """So that whoever stops between two of them holds no lock."""

    def alone(execute: Any, sql: str, values: Any, many: bool, context: Any) -> Any:
        assert context["connection"].get_autocommit(), f"in a transaction: {sql}"
        return execute(sql, values, many, context)

    with connection.execute_wrapper(alone):
        lease = owned("execution:0", "a")
        seize("execution:0/1", lease)
        lease.release()
        assert retire("execution:0/1", whenever=True)
        assert owned("execution:0", "b").epoch == 2
