"""From which server a request reads.

A request that only reads is given a `Reading`; everything else has none, and reads from the
primary. One replica serves all of a request, so that its parts are of one instant or a later one.
The database backend imports this before there are models: nothing here may need them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from django.dispatch import Signal


@dataclass(slots=True)
class Reading:
    """The reads of one request: what has been decided about them so far."""

    on_primary: bool = False  # it has written, or must not meet a replica at all
    replica: str | None = None  # the one that serves it, once one was needed
    lost_replica: bool = False  # its replica went away; what it answered counts for nothing
    lost_primary: bool = False  # a connection to the primary broke under a statement of it
    pinned: dict[int, bool] = field(default_factory=dict)  # by account, as far as it was asked


replica_lost = Signal()  # alias: a statement found the replica gone
primary_unreachable = Signal()  # a connection to it could not be made

_current: ContextVar[Reading | None] = ContextVar("reading", default=None)


def current() -> Reading | None:
    return _current.get()


@contextmanager
def reading(*, on_primary: bool = False) -> Iterator[Reading]:
    """Let what runs inside read from a replica, unless it is told to stay on the primary."""
    made = Reading(on_primary=on_primary)
    before = _current.set(made)
    try:
        yield made
    finally:
        _current.reset(before)


def note_primary_lost() -> None:
    """A statement lost its connection to the primary, which may be away or not."""
    made = _current.get()
    if made is not None:
        made.lost_primary = True


def note_lost(alias: str) -> None:
    """A statement found this replica gone: the request is void, and nobody else is sent there."""
    replica_lost.send(Reading, alias=alias)
    made = _current.get()
    if made is not None:
        made.lost_replica = True
