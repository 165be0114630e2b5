"""Writes that are done once, however often they are asked for: the rows of Idempotency-Keys.

Whoever lets a request in that names a key runs it within `promised`. The first event of the change
that the request makes takes the key's row into its own transaction, so the row is there exactly
when the change is; a second request of that key finds it and changes nothing. Refusals change
nothing and leave no row.

What is asked and answered over HTTP is for `access.idempotency` to know. Here a row is written,
found, completed with its answer, and forgotten after a day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, transaction
from django.db.models import QuerySet

from events.errors import OpenbellError
from events.models import Event, IdempotencyKey

KEPT_FOR = timedelta(hours=24)
SWEPT = 500  # rows forgotten in one transaction
ANSWER_CHARS_MAX = 64 * 1024  # a longer answer is made anew for whoever asks again
FORM_NUMBER_MAX = 64  # characters; those of our pages have fewer
REFUSED = ".refused"  # how the kind of an event ends that says that nothing was changed


class KeyTaken(OpenbellError):
    """Another request with this key is being carried out. Come back for its answer."""

    code = 40910000
    http_status = 409
    message = "another request with this Idempotency-Key is being carried out"
    retry_after_seconds = 1


@dataclass(slots=True, eq=False)
class Promise:
    """That what one request asks for is done under its key, once."""

    principal: str  # who asks, as the event log names them
    key: str
    digest: str  # of all that is asked, so that another request under this key is found out
    is_kept: bool = False  # the row is committed, and with it the change

    def keep(self) -> None:
        self.is_kept = True

    @property
    def is_written(self) -> bool:
        """Whether the transaction that is open just now has the row in it."""
        return any(hook == self.keep for _, hook, *_ in connection.run_on_commit)

    def row(self) -> QuerySet[IdempotencyKey]:
        """On the primary: a replica may not know it yet."""
        rows = IdempotencyKey.objects.using(DEFAULT_DB_ALIAS)
        return rows.filter(principal=self.principal, key=self.key)


_promise: ContextVar[Promise | None] = ContextVar("idempotency_promise", default=None)


@contextmanager
def promised(promise: Promise) -> Iterator[None]:
    """Let what is recorded meanwhile, in this context, be done under the promise's key."""
    before = _promise.set(promise)
    try:
        yield
    finally:
        _promise.reset(before)


@contextmanager
def form_of(principal: str, number: str, said: str) -> Iterator[None]:
    """Carry out what a page's form of this number says, once: it may be sent by a second click.

    One without a number is carried out each time. Raises KeyTaken where it was sent before.
    """
    if not number:
        yield
        return
    digest = hashlib.sha256(said.encode()).hexdigest()
    # With spaces, which no program's Idempotency-Key has.
    promise = Promise(principal, f"form {number[:FORM_NUMBER_MAX]} {digest}", digest)
    if find(promise) is not None:
        raise KeyTaken("this form was sent before")
    with promised(promise):
        yield


def claim_for(events: Iterable[Event]) -> None:
    """Take the key, if there is one, into the transaction that has just written these events."""
    if _promise.get() is None:
        return
    change = next((event for event in events if not event.kind.endswith(REFUSED)), None)
    if change is not None:
        claim(
            subject=change.subject,
            kind=change.kind,
            account_id=change.account_id,
            account_sequence=change.account_sequence,
            request_id=change.request_id,
        )


def claim(*, subject: str, **event: object) -> None:
    """Take the key, if there is one, into this transaction, which changes `subject`.

    For changes that no event tells of; `claim_for` does it for the others. Raises KeyTaken.
    """
    promise = _promise.get()
    if promise is None or promise.is_kept or promise.is_written:
        return
    assert transaction.get_connection().in_atomic_block, "a key is taken with its change"
    try:
        IdempotencyKey.objects.create(
            principal=promise.principal,
            key=promise.key,
            request_digest=promise.digest,
            subject=subject,
            created_at=datetime.now(UTC),
            **event,
        )
    except IntegrityError:
        raise KeyTaken from None
    transaction.on_commit(promise.keep)


def find(promise: Promise) -> IdempotencyKey | None:
    """The row of the promise's key; one whose day is over is forgotten."""
    row = promise.row().first()
    if row is not None and row.created_at <= _oldest():
        promise.row().filter(pk=row.pk).delete()
        return None
    return row


def complete(promise: Promise, status: int, answer: str) -> None:
    """Keep the answer for whoever asks again; the first one stays. One too long is not kept."""
    if len(answer) <= ANSWER_CHARS_MAX:
        promise.row().filter(status=None).update(status=status, answer=answer)


def keep_unchanged(promise: Promise, status: int, answer: str, account_id: int | None) -> bool:
    """Keep the answer to a request that found nothing to change, for what there is to change when
    it is asked again was not meant. False where another request of the key was faster.

    One too long is not kept.
    """
    if len(answer) > ANSWER_CHARS_MAX:
        return True
    try:
        with transaction.atomic():
            IdempotencyKey.objects.create(
                principal=promise.principal,
                key=promise.key,
                request_digest=promise.digest,
                account_id=account_id,
                created_at=datetime.now(UTC),
                status=status,
                answer=answer,
            )
    except IntegrityError:
        return False
    return True


def sweep() -> int:
    """Forget some of the rows whose day is over; returns how many."""
    old = IdempotencyKey.objects.filter(created_at__lte=_oldest()).order_by("created_at")
    pks = list(old.values_list("pk", flat=True)[:SWEPT])
    return IdempotencyKey.objects.filter(pk__in=pks).delete()[0] if pks else 0


def _oldest() -> datetime:
    return datetime.now(UTC) - KEPT_FOR
