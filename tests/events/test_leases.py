"""One owner at a time, by the database's clock, and a former owner changes nothing."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import OperationalError, connection, transaction

from events import models
from events.leases import DatabaseTime, Lease, LeaseLost, acquire, wait_for

pytestmark = pytest.mark.django_db

mysql_only = pytest.mark.skipif("connection.vendor != 'mysql'", reason="ends MySQL connections")


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


def test_renewal_keeps_the_others_out_and_waits_its_time() -> None:
    lease = owned("feed:0", "a")
    expire("feed:0")

    lease.renew_if_due()
    assert acquire("feed:0", "a standby's look") is not None, "not due yet, so not renewed"

    late = owned("relay", "a")
    expire("relay")
    late.renewed_at -= 1.0
    late.renew_if_due()
    assert acquire("relay", "b") is None


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
    assert 1.0 < (row.expires_at - row.now).total_seconds() <= 1.5


def test_standby_waits_until_it_may_own_or_is_told_to_stop() -> None:
    owned("feed:0", "a")
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()

    assert wait_for("feed:0", stop, "b") is None
    assert time.monotonic() - began < 2.0

    expire("feed:0")
    assert wait_for("feed:0", threading.Event(), "b") is not None


@pytest.mark.django_db(transaction=True)
def test_only_one_of_many_standbys_takes_over() -> None:
    models.Lease.objects.create(name="feed:0", owner="a", epoch=1)  # stopped long ago
    taken: list[Lease | None] = []

    def stand_by(owner: str) -> None:
        try:
            taken.append(acquire("feed:0", owner))
        finally:
            connection.close()

    standbys = [threading.Thread(target=stand_by, args=(f"standby {n}",)) for n in range(6)]
    for standby in standbys:
        standby.start()
    for standby in standbys:
        standby.join(20)

    assert [lease.epoch for lease in taken if lease is not None] == [2]
    assert len(taken) == 6


@mysql_only
@pytest.mark.django_db(transaction=True)
def test_take_over_ends_the_connection_of_a_stopped_owner() -> None:
    locked, go_on = threading.Event(), threading.Event()
    outcome: list[BaseException] = []

    def stop_inside_a_transaction() -> None:
        try:
            lease = owned("feed:0", "stopped")
            with transaction.atomic():
                lease.lock_and_check()
                locked.set()
                go_on.wait(20)
                models.Lease.objects.filter(name="feed:0").update(owner="too late")
        except BaseException as error:
            outcome.append(error)
        finally:
            connection.close()

    owner = threading.Thread(target=stop_inside_a_transaction)
    owner.start()
    assert locked.wait(10)
    time.sleep(1.6)  # its lease, as committed, runs out

    successor = owned("feed:0", "b")
    go_on.set()
    owner.join(20)

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
    successor.join(20)

    assert models.Lease.objects.get(name="feed:0").owner == "b"
