"""Who owns a shard of feed, execution or relay: a row with an epoch, on database time.

An owner calls `renew_if_due` from its loop and `lock_and_check` first of all in every transaction
that depends on being the owner. Both are one statement that finds the row only while the epoch is
still its own, so a former owner that wakes up late changes nothing. A standby polls `acquire`.

Redis never decides ownership; what goes there carries the epoch.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections
from django.db.models import DateTimeField, F, Func, IntegerField, Q, Value
from django.db.models.constants import OnConflict
from django.db.models.sql import UpdateQuery

from events import models
from events.reads import find_together

RENEW_SECONDS = 0.5
EXPIRE_SECONDS = 1.5
SOON_SECONDS = 0.02  # how long after it a standby looks again that found a lease about to run out

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another owner has taken over; whatever was about to be written must not be."""


class DatabaseTime(Func):
    """The database's UTC time, `seconds` from now."""

    output_field = DateTimeField()

    def __init__(self, seconds: float = 0.0, **extra: Any) -> None:
        super().__init__(Value(seconds), **extra)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "DATE_ADD(UTC_TIMESTAMP(6), INTERVAL %(expressions)s * 1000000 MICROSECOND)"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = (
            "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'now', %(expressions)s || ' seconds')"
        )
        return self.as_sql(compiler, connection, template=template, **context)


class ConnectionId(Func):
    """The number by which the database knows the connection that asks; null on SQLite."""

    output_field = IntegerField(null=True)
    template = "NULL"

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="CONNECTION_ID()", **context)


@dataclass(slots=True)
class Lease:
    """An owned lease. `epoch` is its owner's forever; whether it still counts, the row says."""

    name: str
    owner: str
    epoch: int
    renewed_at: float = field(default_factory=time.monotonic)
    renewed_over: Any = field(default_factory=lambda: connection.connection, repr=False)

    def lock_and_check(self) -> None:
        """Lock the row until the transaction ends, and renew it. LeaseLost when it is another's."""
        assert connection.in_atomic_block, "a lease is checked by the transaction it protects"
        self.renew()

    def locked_and_checked(self) -> Renewal:
        """The same as the first of several statements, for `reads.find_together`."""
        assert connection.in_atomic_block, "a lease is checked by the transaction it protects"
        return Renewal(self)

    def check(self) -> None:
        """LeaseLost when it is another's, as far as a look without a lock can tell.

        For a second connection of the owner: a standby ends only the one that renews the lease,
        so no other may hold its lock.
        """
        if not models.Lease.objects.filter(name=self.name, epoch=self.epoch).exists():
            raise LeaseLost(f"{self.name}: epoch {self.epoch} of {self.owner} is over")

    def renew_if_due(self) -> None:
        """Renew `RENEW_SECONDS` after the last time. LeaseLost when it is another's.

        Over a new connection at once: a standby ends the one that the row names, and an owner that
        stopped while another holds its locks would keep them for ever.
        """
        is_due = time.monotonic() - self.renewed_at >= RENEW_SECONDS
        if is_due or connection.connection is not self.renewed_over:
            self.renew()

    def release(self) -> None:
        """Let a standby take over at once. Harmless when it already has.

        Nothing is under way any more, so nobody has to end the connection: it may serve on.
        """
        models.Lease.objects.filter(name=self.name, epoch=self.epoch).update(
            expires_at=DatabaseTime(), connection_id=None
        )

    def renew(self) -> None:
        """Renew now; inside a transaction the others see it when that commits."""
        find_together(Renewal(self))


class Renewal:
    """The statement that renews a lease; its answer raises LeaseLost when it is another's.

    The lease counts from before the trip: those that go with it may wait for locks.
    """

    is_for_nothing = False

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._asked_at = 0.0

    def statement(self, connection: Any, values: list[Any]) -> str:
        self._asked_at = time.monotonic()
        values += [EXPIRE_SECONDS, self._lease.epoch, self._lease.name]
        return _renewal(connection.vendor)

    def answer(self, rows: Any, count: int, using: str) -> list[Any]:
        lease = self._lease
        if count == 0:
            raise LeaseLost(f"{lease.name}: epoch {lease.epoch} of {lease.owner} is over")
        lease.renewed_at = self._asked_at
        lease.renewed_over = connections[using].connection
        return []


@lru_cache
def _renewal(vendor: str) -> str:
    """The statement of a renewal, of (seconds, epoch, name). Built once: every settlement begins
    with it, and to build it takes longer than to carry it out."""
    found = models.Lease.objects.filter(epoch=0, name="").query
    renewed: Any = found.chain(UpdateQuery)
    renewed.add_update_values({"expires_at": DatabaseTime(), "connection_id": ConnectionId()})
    statement, _ = renewed.get_compiler(DEFAULT_DB_ALIAS).as_sql()
    return statement


class _Seen(NamedTuple):
    """A lease's row as a standby found it, by a look without a lock."""

    epoch: int
    connection_id: int | None
    seconds_left: float


def process_name() -> str:
    """This process and thread, as an owner."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"[:128]


def acquire(name: str, owner: str | None = None) -> Lease | None:
    """Become the owner where there is none or its lease has expired; else None.

    The row is looked at without a lock, because a stopped owner may hold one for ever: its
    connection is ended first, then the epoch raised.
    """
    return _take_over(name, owner, _look(name))


def wait_for(name: str, stop: threading.Event, owner: str | None = None) -> Lease | None:
    """Stand by until the lease can be had; None once `stop` is set.

    Looks when the lease runs out unless it is renewed, so that a takeover waits for nothing else,
    and at least each `RENEW_SECONDS`, for an owner may let go earlier.
    """
    has_said_so = False
    while not stop.is_set():
        seen = _look(name)
        lease = _take_over(name, owner, seen)
        if lease is not None:
            return lease
        if not has_said_so:
            log.info("standing by for %s", name)
            has_said_so = True
        stop.wait(min(max(seen.seconds_left, SOON_SECONDS), RENEW_SECONDS))
    return None


def seize(name: str, of_shard: Lease) -> Lease:
    """Take over the lease of a second connection, of which a shard's owner is the only owner.

    Whoever has it is a former owner: their connection is ended, however far they are. Raises
    LeaseLost where the shard is another's by now.

    No lock makes sure of that, for whoever stopped here would hold it over a connection that no
    row names. A former owner that looks after its successor has taken this lease fails the check;
    one that looked before finds the epoch raised, or is itself raised over.
    """
    while True:
        seen = _look(name)
        of_shard.check()  # after the look
        if seen.connection_id is not None:
            _end_connection(seen.connection_id)
        lease = _raise_epoch(name, of_shard.owner, seen.epoch, whenever=True)
        if lease is not None:
            return lease


def retire(name: str, *, whenever: bool = False) -> bool:
    """End a lease that nobody is to own any more; its owner, even one that only stood still, finds
    it lost. False where it has an owner, unless told to end it whenever that is."""
    seen = _look(name)
    if seen.seconds_left > 0 and not whenever:
        return False
    if seen.connection_id is not None:
        _end_connection(seen.connection_id)
    rows = models.Lease.objects.filter(name=name, epoch=seen.epoch)
    return bool(
        (rows if whenever else rows.filter(_expired())).update(
            epoch=F("epoch") + 1, owner="", connection_id=None, expires_at=DatabaseTime()
        )
    )


def named(prefix: str) -> set[str]:
    """The names of all leases that begin like this, owned or not."""
    return set(models.Lease.objects.filter(name__startswith=prefix).values_list("name", flat=True))


def owners(names: Iterable[str]) -> dict[str, str]:
    """Who owns those of the leases that have an owner, as a look without a lock can tell."""
    owned = models.Lease.objects.filter(name__in=list(names), expires_at__gt=DatabaseTime())
    return dict(owned.values_list("name", "owner"))


def owner_of(name: str) -> str | None:
    """Who owns the lease; None where nobody does."""
    return owners([name]).get(name)


def _look(name: str) -> _Seen:
    row = (
        models.Lease.objects.filter(name=name)
        .annotate(now=DatabaseTime())
        .values_list("epoch", "connection_id", "expires_at", "now")
        .first()
    )
    if row is None:
        _make(name)
        return _look(name)
    epoch, connection_id, expires_at, now = row
    left = (expires_at - now).total_seconds() if expires_at is not None else 0.0
    return _Seen(epoch, connection_id, left)


def _make(name: str) -> None:
    """Make the row of a new name, unless another has; in one statement that commits itself."""
    insert = connection.ops.insert_statement(on_conflict=OnConflict.IGNORE)
    table = connection.ops.quote_name(models.Lease._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"{insert} {table} (name, owner, epoch) VALUES (%s, '', 0)", [name])


def _take_over(name: str, owner: str | None, seen: _Seen) -> Lease | None:
    if seen.seconds_left > 0:
        return None
    if seen.connection_id is not None:
        _end_connection(seen.connection_id)
    return _raise_epoch(name, owner or process_name(), seen.epoch)


def _raise_epoch(name: str, owner: str, seen_epoch: int, *, whenever: bool = False) -> Lease | None:
    """Take over from the epoch that was seen; None where someone was faster, the owner included.

    One statement that commits itself: whoever stopped between a statement and its commit would
    hold a lock over a connection that no row names.
    """
    seen = models.Lease.objects.filter(name=name, epoch=seen_epoch)
    taken = (seen if whenever else seen.filter(_expired())).update(
        epoch=F("epoch") + 1,
        owner=owner,
        connection_id=ConnectionId(),
        expires_at=DatabaseTime(EXPIRE_SECONDS),
    )
    if not taken:
        return None
    log.info("%s is now owned by %s, epoch %d", name, owner, seen_epoch + 1)
    return Lease(name, owner, seen_epoch + 1)


def _expired() -> Q:
    return Q(expires_at__isnull=True) | Q(expires_at__lte=DatabaseTime())


def _end_connection(connection_id: int) -> None:
    """End a former owner's connection, if it is still there and one of ours (MySQL only)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM information_schema.processlist WHERE id = %s AND db = DATABASE()"
            " AND user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1) AND id <> CONNECTION_ID()",
            [connection_id],
        )
        if cursor.fetchone() is None:
            return
        try:
            cursor.execute(f"KILL CONNECTION {int(connection_id)}")
        except DatabaseError as error:  # it went by itself in the meantime
            log.warning("connection %d of a former owner: %s", connection_id, error)
