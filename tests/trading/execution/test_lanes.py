"""Batches that follow each other in a lane: an account's decisions stay in their order."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from events.leases import Lease
from tests.trading.execution.scripts import order
from trading.execution.decisions import Decision
from trading.execution.lanes import Batch, Lanes, attempt_all
from trading.execution.settlement import Outcome

LEASE = Lease("execution:0", "test", 1, renewed_over=None)


def decision(account_id: int) -> Decision:
    return Decision(order(1, account_id=account_id), at_us=0)


def batch(*account_ids: int) -> Batch:
    return [decision(each) for each in account_ids]


def accounts(decisions: Batch) -> list[int]:
    return [one.account_id for one in decisions]


class Settling:
    """Settles what it is given but for the accounts that are locked, and remembers it."""

    def __init__(self, locked: set[int], failing: dict[int, Exception] | None = None) -> None:
        self.locked, self.failing = locked, failing or {}
        self.tried: list[list[int]] = []

    def __call__(self, decisions: Batch, lease: Any) -> Outcome:
        self.tried.append(accounts(decisions))
        for one in decisions:
            if error := self.failing.get(one.account_id):
                raise error
        busy = [one for one in decisions if one.account_id in self.locked]
        return Outcome([one for one in decisions if one not in busy], busy)


def test_nothing_later_of_a_locked_account_is_tried() -> None:
    settling = Settling(locked={1})
    batches = [batch(1, 2), batch(1, 3), batch(1), batch(2)]
    settled = attempt_all(settling, batches, LEASE)

    assert settling.tried == [[1, 2], [3], [2]]
    kept = [one for each, outcome in settled if outcome is None for one in each]
    assert list(map(id, kept)) == [id(batches[1][0]), id(batches[2][0])]


def test_nothing_later_of_a_batch_that_failed_is_tried() -> None:
    bug = ValueError("a bug")
    settling = Settling(locked=set(), failing={1: bug})
    settled = attempt_all(settling, [batch(1, 2), batch(2, 3), batch(1)], LEASE)

    assert settling.tried == [[1, 2], [3]]
    assert [(accounts(each), outcome) for each, outcome in settled if outcome is bug] == [
        ([1, 2], bug)
    ]
    assert [accounts(each) for each, outcome in settled if outcome is None] == [[2], [1]]


def test_nothing_more_is_tried_without_the_database() -> None:
    away = OperationalError(2006, "gone away")
    settling = Settling(locked=set(), failing={2: away})
    settled = attempt_all(settling, [batch(1), batch(2), batch(3), batch(4)], LEASE)

    assert settling.tried == [[1], [2]]
    assert [accounts(each) for each, outcome in settled if outcome is away] == [[2]]
    assert [accounts(each) for each, outcome in settled if outcome is None] == [[3], [4]]


@pytest.mark.parametrize("count", [10, 41, 200])
def test_an_account_has_one_lane_and_few_decisions_have_one_altogether(count: int) -> None:
    waiting = [decision(number % 7) for number in range(count)]
    parts = Lanes(LEASE, 2).parts(waiting)

    assert sorted(map(id, (one for part in parts for one in part))) == sorted(map(id, waiting))
    assert len(parts) == (1 if count < 40 else 2)
    for part in parts:
        theirs = set(accounts(part))
        assert part == [one for one in waiting if one.account_id in theirs]
