"""The row of an Idempotency-Key is there exactly when the change is that it protects."""

from __future__ import annotations

import pytest
from django.db import transaction

from events import idempotency, log
from events.idempotency import KeyTaken, Promise, claim, promised
from events.models import Event, IdempotencyKey

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def promise() -> Promise:
    return Promise("key:TEST", "once", "0" * 64)


def record(kind: str = "test.happened", subject: str = "thing:1") -> None:
    log.record(kind, actor="test", subject=subject)


def test_the_first_change_takes_the_key_and_the_others_go_with_it(promise: Promise) -> None:
    with promised(promise):
        with transaction.atomic():
            record("test.tried.refused", "thing:0")
            record(subject="thing:1")
            record(subject="thing:2")
            log.record_many([log.draft("test.happened", actor="test", subject="thing:3")])
            assert not promise.is_kept
        assert promise.is_kept
        with transaction.atomic():
            record(subject="thing:4")
    row = IdempotencyKey.objects.get()
    assert (row.subject, row.kind, row.status) == ("thing:1", "test.happened", None)
    assert Event.objects.count() == 5


def test_a_transaction_that_is_tried_again_takes_it_again(promise: Promise) -> None:
    with promised(promise):
        for is_last in (False, True):
            with transaction.atomic():
                record()
                transaction.set_rollback(not is_last)
            assert promise.is_kept is is_last
            assert IdempotencyKey.objects.count() == is_last


def test_a_savepoint_that_is_rolled_back_gives_the_key_up(promise: Promise) -> None:
    with promised(promise), transaction.atomic():
        with transaction.atomic():
            record(subject="thing:1")
            transaction.set_rollback(True)
        record(subject="thing:2")
    assert IdempotencyKey.objects.get().subject == "thing:2"


def test_a_key_that_is_taken_takes_the_change_back(promise: Promise) -> None:
    with promised(promise), transaction.atomic():
        record()
    other = Promise(promise.principal, promise.key, promise.digest)
    with pytest.raises(KeyTaken), promised(other), transaction.atomic():
        record()
    assert not other.is_kept
    assert Event.objects.count() == 1


def test_without_a_promise_or_after_it_no_key_is_taken(promise: Promise) -> None:
    with promised(promise):
        pass
    with transaction.atomic():
        record()
        claim(subject="thing:1")
    assert not IdempotencyKey.objects.exists()


def test_the_first_answer_stays(promise: Promise) -> None:
    with promised(promise), transaction.atomic():
        record()
    for status, answer in ((200, "first"), (409, "second")):
        idempotency.complete(promise, status, answer)
    row = idempotency.find(promise)
    assert row is not None
    assert (row.status, row.answer) == (200, "first")


def test_an_answer_that_is_too_long_is_not_kept(promise: Promise) -> None:
    with promised(promise), transaction.atomic():
        record()
    idempotency.complete(promise, 200, "x" * (idempotency.ANSWER_CHARS_MAX + 1))
    assert IdempotencyKey.objects.get().status is None
