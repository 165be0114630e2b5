from __future__ import annotations

import pytest
from django.db import OperationalError, transaction

from events import transactions
from events.errors import Unavailable
from events.transactions import retried, was_broken_off

DEADLOCK = OperationalError(1213, "Deadlock found when trying to get lock")
LOCK_WAIT = OperationalError(1205, "Lock wait timeout exceeded")
GONE = OperationalError(2013, "Lost connection to server during query")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DEADLOCK, True),
        (LOCK_WAIT, True),
        (OperationalError("database is locked"), True),
        (GONE, False),
        (OperationalError(), False),
        (ValueError(1213), False),
    ],
)
def test_only_lost_locks_are_worth_another_try(error: Exception, expected: bool) -> None:
    assert was_broken_off(error) is expected


class Flaky:
    """Fails as often as it is told, then works."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


@pytest.mark.django_db(transaction=True)
def test_a_deadlock_is_tried_again() -> None:
    work = Flaky(2, DEADLOCK)
    assert retried(work.__call__)() == "done"
    assert work.calls == 3


@pytest.mark.django_db(transaction=True)
def test_when_locks_never_come_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "WAIT_SECONDS_MAX", 0.05)
    with pytest.raises(Unavailable):
        retried(Flaky(10_000, LOCK_WAIT).__call__)()


@pytest.mark.django_db(transaction=True)
def test_a_lost_connection_is_not_tried_again() -> None:
    work = Flaky(1, GONE)
    with pytest.raises(OperationalError):
        retried(work.__call__)()
    assert work.calls == 1


@pytest.mark.django_db(transaction=True)
def test_inside_a_larger_transaction_the_outermost_decides() -> None:
    work = Flaky(1, DEADLOCK)
    with transaction.atomic(), pytest.raises(OperationalError):
        retried(work.__call__)()
    assert work.calls == 1
