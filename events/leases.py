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
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.db.models import DateTimeField, F, Func, IntegerField, Q, Value

from events import models

RENEW_SECONDS = 0.5
EXPIRE_SECONDS = 1.5

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

    def lock_and_check(self) -> None:
        """Lock the row until the transaction ends, and renew it. LeaseLost when it is another's."""
        assert connection.in_atomic_block, "a lease is checked by the transaction it protects"
        self._renew()

    def check(self) -> None:
        """LeaseLost when it is another's, as far as a look without a lock can tell.

        For a second connection of the owner: a standby ends only the one that renews the lease,
        so no other may hold its lock.
        """
        if not models.Lease.objects.filter(name=self.name, epoch=self.epoch).exists():
            raise LeaseLost(f"{self.name}: epoch {self.epoch} of {self.owner} is over")

    def renew_if_due(self) -> None:
        """Renew `RENEW_SECONDS` after the last time. LeaseLost when it is another's."""
        if time.monotonic() - self.renewed_at >= RENEW_SECONDS:
            self._renew()

    def release(self) -> None:
        """Let a standby take over at once. Harmless when it already has."""
        models.Lease.objects.filter(name=self.name, epoch=self.epoch).update(
            expires_at=DatabaseTime()
        )

    def _renew(self) -> None:
        renewed = models.Lease.objects.filter(name=self.name, epoch=self.epoch).update(
            expires_at=DatabaseTime(EXPIRE_SECONDS), connection_id=ConnectionId()
        )
        if not renewed:
            raise LeaseLost(f"{self.name}: epoch {self.epoch} of {self.owner} is over")
        self.renewed_at = time.monotonic()


def process_name() -> str:
    """This process and thread, as an owner."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"[:128]


def acquire(name: str, owner: str | None = None) -> Lease | None:
    """Become the owner where there is none or its lease has expired; else None.

    The row is looked at without a lock, because a stopped owner may hold one for ever: its
    connection is ended first, then the epoch raised.
    """
    owner = owner or process_name()
    row = (
        models.Lease.objects.filter(name=name)
        .annotate(now=DatabaseTime())
        .values_list("epoch", "connection_id", "expires_at", "now")
        .first()
    )
    if row is None:
        models.Lease.objects.bulk_create([models.Lease(name=name)], ignore_conflicts=True)
        return acquire(name, owner)
    epoch, connection_id, expires_at, now = row
    if not _is_over(expires_at, now):
        return None
    if connection_id is not None:
        _end_connection(connection_id)
    return _raise_epoch(name, owner, epoch)


def wait_for(name: str, stop: threading.Event, owner: str | None = None) -> Lease | None:
    """Stand by until the lease can be had; None once `stop` is set."""
    has_said_so = False
    while not stop.is_set():
        lease = acquire(name, owner)
        if lease is not None:
            return lease
        if not has_said_so:
            log.info("standing by for %s", name)
            has_said_so = True
        stop.wait(RENEW_SECONDS)
    return None


def _is_over(expires_at: datetime | None, now: datetime) -> bool:
    return expires_at is None or expires_at <= now


@transaction.atomic
def _raise_epoch(name: str, owner: str, seen_epoch: int) -> Lease | None:
    """Take over from the epoch that was seen; None where someone was faster, the owner included."""
    expired = Q(expires_at__isnull=True) | Q(expires_at__lte=DatabaseTime())
    taken = models.Lease.objects.filter(expired, name=name, epoch=seen_epoch).update(
        epoch=F("epoch") + 1,
        owner=owner,
        connection_id=ConnectionId(),
        expires_at=DatabaseTime(EXPIRE_SECONDS),
    )
    if not taken:
        return None
    log.info("%s is now owned by %s, epoch %d", name, owner, seen_epoch + 1)
    return Lease(name, owner, seen_epoch + 1)


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
