"""An event is part of the change it records: numbered without gaps, gone with a rollback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, transaction
from django.test import override_settings

from events import log
from events.models import Event

pytestmark = pytest.mark.django_db(transaction=True)

heard: list[frozenset[int]] = []


def note_accounts(accounts: frozenset[int]) -> None:
    """What these tests plug in as AFTER_COMMIT."""
    heard.append(accounts)


@dataclass
class Book:
    """An account as far as the log sees it."""

    pk: int
    event_sequence: int = 0


@pytest.fixture(autouse=True)
def hook() -> Iterator[None]:
    heard.clear()
    log._after_commit.cache_clear()
    with override_settings(AFTER_COMMIT=f"{__name__}.note_accounts"):
        yield
    log._after_commit.cache_clear()


def test_events_of_an_account_are_numbered_without_gaps() -> None:
    mine, other = Book(1), Book(2, event_sequence=40)
    with transaction.atomic():
        for account in (mine, other, mine, mine):
            log.record("test.thing.happened", actor="system", account=account)

    assert numbers_of(1) == [1, 2, 3]
    assert numbers_of(2) == [41]


def test_event_without_an_account_has_no_number() -> None:
    with transaction.atomic():
        event = log.record("test.market.paused", actor="operator:1")
    assert (event.account_id, event.account_sequence) == (None, None)


def test_event_keeps_who_what_and_when() -> None:
    market_time = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
    token = log.request_id.set("req-1")
    try:
        with transaction.atomic():
            log.record(
                "test.order.filled",
                actor="engine",
                subject="order:7",
                account=Book(1),
                at=market_time,
                payload={"qty": "10"},
            )
    finally:
        log.request_id.reset(token)

    event = Event.objects.get()
    assert (event.kind, event.actor, event.subject) == ("test.order.filled", "engine", "order:7")
    assert (event.at, event.request_id, event.payload) == (market_time, "req-1", {"qty": "10"})
    assert abs((datetime.now(UTC) - event.recorded_at).total_seconds()) < 60
    assert (event.sequence, event.hash) == (None, None)


def test_rollback_leaves_neither_event_nor_news() -> None:
    with transaction.atomic():
        log.record("test.thing.happened", actor="system", account=Book(1))
        transaction.set_rollback(True)

    assert not Event.objects.exists()
    assert heard == []


def test_outside_a_transaction_is_refused() -> None:
    with pytest.raises(AssertionError):
        log.record("test.thing.happened", actor="system")
    assert not Event.objects.exists()


def test_same_number_twice_is_refused_by_the_database() -> None:
    with transaction.atomic():
        log.record("test.thing.happened", actor="system", account=Book(1))
    with pytest.raises(IntegrityError), transaction.atomic():
        log.record("test.thing.happened", actor="system", account=Book(1))


def test_hook_hears_a_batch_once_and_only_after_the_commit() -> None:
    first, second = Book(1), Book(2)
    with transaction.atomic():
        log.record_many(
            [
                log.draft("test.thing.happened", actor="engine", account=account)
                for account in (first, second, first)
            ]
        )
        assert heard == []

    assert heard == [frozenset({1, 2})]


def test_hook_is_not_called_for_events_of_no_account() -> None:
    with transaction.atomic():
        log.record("test.market.paused", actor="operator:1")
    assert heard == []


def numbers_of(account_id: int) -> list[int | None]:
    rows = Event.objects.filter(account_id=account_id).order_by("id")
    return [event.account_sequence for event in rows]


@pytest.mark.parametrize("account", [Book(1), None])
def test_events_know_whether_they_are_stored(account: Book | None) -> None:
    with transaction.atomic():
        event = log.record("test.thing.happened", actor="system", account=account)
    assert log.Recorded([event]).is_stored() is True

    Event.objects.all().delete()
    assert log.Recorded([event]).is_stored() is False


def test_another_event_that_took_the_number_is_no_proof() -> None:
    lost = log.draft("test.thing.happened", actor="system", account=Book(1))
    with transaction.atomic():
        log.record("test.thing.happened", actor="system", account=Book(1))

    assert numbers_of(1) == [lost.account_sequence]
    assert log.Recorded([lost]).is_stored() is False


def test_an_event_without_any_number_proves_nothing() -> None:
    assert log.Recorded([log.draft("test.market.paused", actor="system")]).is_stored() is None
