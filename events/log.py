"""The one way to write an event: inside the transaction of the change it records.

`record` writes one, `draft` and `record_many` write a batch in bulk. Each event of an account
takes the next number of that account's own counter, so the caller must hold the account's lock
and save the account in the same transaction. After the commit the hook that settings name in
`AFTER_COMMIT` hears which accounts changed. Where the request came with an Idempotency-Key, its
first event takes the key's row along (`events.idempotency`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Q
from django.utils.module_loading import import_string

from events import idempotency
from events.bulk import insert_row, insert_rows, new_row
from events.models import Event

request_id: ContextVar[str] = ContextVar("request_id", default="")


class Numbered(Protocol):
    """An account as the log sees it: a key, and the counter of its events."""

    pk: Any
    event_sequence: int


def draft(
    kind: str,
    *,
    actor: str,
    subject: str = "",
    account: Numbered | None = None,
    at: datetime | None = None,
    recorded_at: datetime | None = None,
    payload: dict[str, Any] | None = None,
) -> Event:
    """An event not yet written, of now where no wall time is given; takes the account's next number
    at once."""
    event = new_row(
        Event,
        kind=kind,
        subject=subject,
        actor=actor,
        request_id=request_id.get(),
        at=at,
        recorded_at=recorded_at or datetime.now(UTC),
        payload=payload or {},
    )
    if account is not None:
        account.event_sequence += 1
        event.account_id = account.pk
        event.account_sequence = account.event_sequence
    return event


def record(kind: str, **fields: Any) -> Event:
    """Write one event and return it with its key; the fields are those of `draft`."""
    _assert_in_transaction()
    event = draft(kind, **fields)
    insert_row(event)
    transaction.on_commit(Recorded([event]))
    idempotency.claim_for([event])
    return event


def record_many(events: Iterable[Event]) -> None:
    """Write drafted events in bulk, without keys."""
    _assert_in_transaction()
    events = list(events)
    insert_rows(events)
    if events:
        transaction.on_commit(Recorded(events))
        idempotency.claim_for(events)


def _assert_in_transaction() -> None:
    assert transaction.get_connection().in_atomic_block, "an event is part of a transaction"


class Recorded:
    """Events whose transaction is about to commit. Called once it has; says whether it has."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def __call__(self) -> None:
        """Tell the after-commit hook which accounts have changed."""
        accounts = frozenset(one.account_id for one in self._events if one.account_id is not None)
        if accounts and settings.AFTER_COMMIT:
            _after_commit()(accounts)

    def is_stored(self) -> bool | None:
        """Whether the events are in the table, by the first of them; None where it has no number.

        Another event may have taken the number since, but is not the same in everything.
        """
        event = self._events[0]
        pk: int | None = event.pk  # not every database says what number it gave
        if event.account_id is not None:
            number = Q(account_id=event.account_id, account_sequence=event.account_sequence)
        elif pk is not None:
            number = Q(pk=pk)
        else:
            return None
        same = Q(kind=event.kind, subject=event.subject, request_id=event.request_id)
        same &= Q(recorded_at=event.recorded_at)
        return Event.objects.using(DEFAULT_DB_ALIAS).filter(number, same).exists()


@cache
def _after_commit() -> Any:
    return import_string(settings.AFTER_COMMIT)
