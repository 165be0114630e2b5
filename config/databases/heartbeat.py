"""The heartbeat: a row that is renewed on the primary every quarter of a second.

Its age on a replica is that replica's lag. The row is a lease, so that among all processes which
read from replicas one keeps it and the others stand by. It is kept by those who need it: where
nobody reads from replicas nothing beats.
"""

from __future__ import annotations

import logging
import random
import threading
import time

from django.db import DatabaseError, InterfaceError, connection, transaction

from events import leases
from events.leases import Lease, LeaseLost
from events.transactions import was_broken_off

NAME = "heartbeat"
BEAT_SECONDS = 0.25
STAND_BY_SECONDS = 0.5
SILENT_AFTER_SECONDS = 1.0  # a primary that was heard within this time is not silent
AWAY_AFTER_SECONDS = 2.0  # one that owes us an answer for so long; one that refuses us is at once

log = logging.getLogger(__name__)


def age_seconds(past_expiry_us: int) -> float:
    """The age of the last beat, by how long ago (or how soon, negative) the lease expires."""
    return past_expiry_us / 1_000_000 + leases.EXPIRE_SECONDS


class Heart:
    """One process's part in the heartbeat, and when it last heard the primary."""

    def __init__(self) -> None:
        self._lease: Lease | None = None
        self._heard_at = time.monotonic()
        self._asked_at: float | None = None  # while an answer is due
        self._unreachable = False

    def silent_seconds(self) -> float:
        """For how long the primary has not answered this process; 0 while it does."""
        silent = time.monotonic() - self._heard_at
        return silent if silent > SILENT_AFTER_SECONDS else 0.0

    def is_away(self) -> bool:
        """Whether there is no use in asking the primary now.

        Only a question that it owes the answer to counts, or a process without a turn on its
        processor would take the primary for the one that is late.
        """
        asked_at = self._asked_at
        is_late = asked_at is not None and time.monotonic() - asked_at > AWAY_AFTER_SECONDS
        return self._unreachable or is_late

    def note_unreachable(self) -> None:
        """Take it that the primary is away until the next beat that reaches it."""
        self._unreachable = True

    def beat_until(self, stop: threading.Event) -> None:
        """Keep the heartbeat or stand by, until told to stop."""
        while not stop.is_set():
            self._asked_at = time.monotonic()
            try:
                self._turn()
                self._heard_at = time.monotonic()
                self._unreachable = False
            except (DatabaseError, InterfaceError) as error:
                log.warning("heartbeat: the primary is away: %s", error)
                self._lease = None
                self._unreachable = not was_broken_off(error)
                connection.close()
            except LeaseLost:
                self._lease = None
            finally:
                self._asked_at = None
            stop.wait(BEAT_SECONDS if self._lease else random.uniform(0.5, 1) * STAND_BY_SECONDS)
        self._end()

    def _turn(self) -> None:
        if self._lease is None:
            self._lease = leases.acquire(NAME)
            return
        with transaction.atomic():
            self._lease.lock_and_check()

    def _end(self) -> None:
        try:
            if self._lease is not None:
                self._lease.release()
        except (DatabaseError, InterfaceError):
            log.info("heartbeat: nobody to give it back to")
        finally:
            connection.close()
