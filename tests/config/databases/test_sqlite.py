"""Many threads of one process on SQLite: nobody is refused, and readers never wait."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from config.databases.sqlite import base
from events.models import Lease
from tests.meeting import together
from tests.waiting import PATIENCE_SECONDS, eventually

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'sqlite'", reason="this is about SQLite"),
]

WRITERS = 8
TRANSACTIONS = 100


def in_threads(works: list[Callable[[], None]]) -> list[Exception]:
    """Run each in a thread with a connection of its own; the errors they ended in."""
    outcomes = together(*works, expected=Exception)
    return [outcome for outcome in outcomes if isinstance(outcome, Exception)]


def raise_epoch() -> None:
    """Read, think, write: what goes wrong when two transactions overlap."""
    for _ in range(TRANSACTIONS):
        with transaction.atomic():
            lease = Lease.objects.select_for_update().get(name="feed:0")
            lease.epoch += 1
            lease.save()


def test_no_writer_is_refused_and_no_write_is_lost():
    Lease.objects.create(name="feed:0")

    assert in_threads([raise_epoch] * WRITERS) == []

    assert Lease.objects.get(name="feed:0").epoch == WRITERS * TRANSACTIONS


def test_single_statements_take_turns_with_transactions():
    Lease.objects.create(name="feed:0")

    def touch() -> None:
        for _ in range(TRANSACTIONS):
            Lease.objects.filter(name="feed:0").update(owner="someone")

    assert in_threads([raise_epoch, raise_epoch, touch, touch]) == []

    assert Lease.objects.get(name="feed:0").epoch == 2 * TRANSACTIONS


def test_readers_go_on_while_a_writer_works():
    Lease.objects.create(name="feed:0", owner="before")
    seen: list[str] = []

    def read() -> None:
        seen.append(Lease.objects.get(name="feed:0").owner)

    with transaction.atomic():
        Lease.objects.update(owner="after")
        assert in_threads([read]) == []

    assert seen == ["before"]


def test_turn_is_given_on_after_a_rollback_and_a_lost_connection():
    def fail() -> None:
        raise ZeroDivisionError

    def lose_connection() -> None:
        connection.close()
        Lease.objects.count()

    for accident in fail, lose_connection:
        with pytest.raises((ZeroDivisionError, DatabaseError)), transaction.atomic():
            accident()

    assert in_threads([lambda: Lease.objects.create(name="feed:1").delete()]) == []


def test_waiting_for_a_turn_ends(monkeypatch):
    monkeypatch.setattr(base, "TURN_TIMEOUT_SECONDS", 0.05)

    with transaction.atomic():
        Lease.objects.create(name="feed:0")
        errors = in_threads([lambda: Lease.objects.create(name="feed:1")])

    assert [type(error) for error in errors] == [OperationalError]
    assert Lease.objects.count() == 1


def test_turns_come_in_the_order_of_asking():
    queue = base.WriteQueue()
    order: list[int] = []
    assert queue.acquire(1)

    def wait(number: int) -> None:
        assert queue.acquire(PATIENCE_SECONDS)
        order.append(number)
        queue.release()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    for asked, thread in enumerate(threads, 1):
        thread.start()
        eventually(lambda asked=asked: len(queue._waiting) == asked, "the next to wait")
    queue.release()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)

    assert order == [0, 1, 2, 3, 4]


def test_acknowledged_means_on_disk():
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)
        cursor.execute("PRAGMA synchronous")
        assert cursor.fetchone() == (2,)  # FULL
        cursor.execute("PRAGMA foreign_keys")
        assert cursor.fetchone() == (1,)
