"""Consumers of the whole log: each reads it in order, from a cursor of its own, at least once.

A consumer is a name and a function that handles a batch of events. The cursor moves once a batch
is handled, so whoever is killed in between handles that batch again, and none is ever left out: the
relay's numbers have no gaps and are given once. Whoever must not do a thing twice goes by the
event's `sequence`.

One process runs a consumer at a time. Two of one name notice it when the second moves the cursor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from django.db.models import QuerySet

from events.models import Cursor, Event

BATCH = 100
IDLE_SECONDS = 0.25

Handle = Callable[[list[Event]], None]


class CursorMoved(Exception):
    """Somebody else runs this consumer, too, or has set its cursor."""


def consume(name: str, handle: Handle, stop: threading.Event, *, batch: int = BATCH) -> None:
    """Hand the log's events over, as they are chained, until `stop`. Raises CursorMoved."""
    while not stop.is_set():
        if not consume_once(name, handle, batch=batch):
            stop.wait(IDLE_SECONDS)


def consume_once(name: str, handle: Handle, *, batch: int = BATCH) -> int:
    """Hand the next events over, at most `batch`, and move on; returns how many they were.

    What `handle` raises leaves the cursor where it is. Raises CursorMoved.
    """
    reached = position(name)
    events = list(after(reached)[:batch])
    if not events:
        return 0
    handle(events)
    _move(name, reached, events[-1].sequence or 0)
    return len(events)


def after(sequence: int) -> QuerySet[Event]:
    """The chained events behind this one, in order."""
    return Event.objects.filter(sequence__gt=sequence).order_by("sequence")


def position(name: str) -> int:
    """The last event that the consumer has handled; a new one begins at the first."""
    cursor, _ = Cursor.objects.get_or_create(name=name, defaults={"moved_at": datetime.now(UTC)})
    return cursor.sequence


def rewind(name: str, sequence: int) -> None:
    """Have the consumer go on behind this event, whatever it has handled before."""
    Cursor.objects.update_or_create(
        name=name, defaults={"sequence": sequence, "moved_at": datetime.now(UTC)}
    )


def _move(name: str, reached: int, to: int) -> None:
    moved = Cursor.objects.filter(name=name, sequence=reached).update(
        sequence=to, moved_at=datetime.now(UTC)
    )
    if not moved:
        raise CursorMoved(f"{name} is no longer at {reached}")
