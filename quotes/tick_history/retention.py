"""What is thrown away. On MySQL a day is a partition, and dropped whole; nothing is deleted there.

SQLite has no partitions: there old rows are deleted a few at a time, each time in a transaction of
its own, so that nobody who wants to write waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connections, router, transaction

from quotes.models import Instrument, QuoteTick
from quotes.tick_history.store import KINDS, Kind
from quotes.ticks import MICROSECONDS, to_instant

DAY_US = 86_400 * MICROSECONDS
REST = "p_rest"  # the last partition: what comes after the newest day
LOCK_SECONDS = 2  # for the moment in which partitions change, nobody may read the table

ROWS_PER_DELETE = 1_000  # some 3 ms on SQLite
DELETES_PER_PASS = 200


class Retention:
    """Room for the days to come, and an end for those that are over."""

    def __init__(self, days: int) -> None:
        """Keep `days` times 24 hours of market time."""
        self._kept_us = days * DAY_US
        self._room_until_us = 0  # partitions are known to be there up to here
        self._pending: list[tuple[Kind, int]] = []  # what a pass of deletes still has to look at

    def make_room(self, at_us: int) -> None:
        """See that the day of this instant has its partition. Not within a transaction."""
        if at_us < self._room_until_us:
            return
        end_us = (at_us // DAY_US + 1) * DAY_US
        if _connection().vendor == "mysql":
            for kind in KINDS:
                _add_partition(kind.table, end_us)
        self._room_until_us = end_us

    def forget(self, newest_us: int, is_busy: Callable[[], bool]) -> int:
        """Throw away what is too old, seen from the newest tick; how many partitions or rows.

        Where rows are deleted, it stops as soon as `is_busy`, and goes on the next time.
        """
        horizon_us = newest_us - self._kept_us
        if _connection().vendor == "mysql":
            return sum(_drop_partitions(kind.table, horizon_us) for kind in KINDS)
        return self._delete_before(horizon_us, is_busy)

    def _delete_before(self, horizon_us: int, is_busy: Callable[[], bool]) -> int:
        if not self._pending:
            ids = list(Instrument.objects.values_list("pk", flat=True))
            self._pending = [(kind, pk) for kind in KINDS for pk in ids]
        deleted = 0
        for _ in range(DELETES_PER_PASS):
            if not self._pending or is_busy():
                break
            kind, instrument_id = self._pending[-1]
            count = _delete_some(kind.table, instrument_id, horizon_us)
            deleted += count
            if count < ROWS_PER_DELETE:
                self._pending.pop()
        return deleted


def _add_partition(table: str, end_us: int) -> None:
    """A partition up to `end_us`, split off the empty rest; nothing where it reaches so far."""
    if max(_partitions(table).values(), default=0) >= end_us:
        return
    name = f"p{to_instant(end_us) - timedelta(days=1):%Y%m%d}"
    _alter(
        f"ALTER TABLE {table} REORGANIZE PARTITION {REST} INTO"
        f" (PARTITION {name} VALUES LESS THAN ({end_us}),"
        f" PARTITION {REST} VALUES LESS THAN MAXVALUE)"
    )


def _drop_partitions(table: str, horizon_us: int) -> int:
    """Drop the days that are over by then, the oldest first."""
    ends = sorted((end_us, name) for name, end_us in _partitions(table).items())
    over = [name for end_us, name in ends if end_us <= horizon_us]
    if over:
        _alter(f"ALTER TABLE {table} DROP PARTITION {', '.join(over)}")
    return len(over)


def _partitions(table: str) -> dict[str, int]:
    """The days that have a partition, and the instant at which each ends."""
    with _connection().cursor() as cursor:
        cursor.execute(
            "SELECT partition_name, partition_description FROM information_schema.partitions"
            " WHERE table_schema = DATABASE() AND table_name = %s AND partition_name <> %s",
            [table, REST],
        )
        return {name: int(end_us) for name, end_us in cursor.fetchall()}


def _alter(statement: str) -> None:
    with _connection().cursor() as cursor:
        cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        cursor.execute(statement)


def _delete_some(table: str, instrument_id: int, horizon_us: int) -> int:
    """Delete the oldest rows of an instrument before the horizon: few more than ROWS_PER_DELETE.

    Few more, because an instant is not cut in two.
    """
    with transaction.atomic(using=_connection().alias), _connection().cursor() as cursor:
        cursor.execute(
            f"SELECT at_us FROM {table} WHERE instrument_id = %s ORDER BY at_us LIMIT 1 OFFSET %s",
            [instrument_id, ROWS_PER_DELETE - 1],
        )
        last = cursor.fetchone()
        before_us = horizon_us if last is None else min(horizon_us, last[0] + 1)
        cursor.execute(
            f"DELETE FROM {table} WHERE instrument_id = %s AND at_us < %s",
            [instrument_id, before_us],
        )
        return cursor.rowcount


def _connection() -> Any:
    return connections[router.db_for_write(QuoteTick)]
