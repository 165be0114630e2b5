"""Transactions that the database breaks off, and are worth another try.

A deadlock or a lock time-out says nothing about the request: the same transaction may pass a moment
later. It is begun again from its outermost block, and whatever the use case read under its locks
is read again. A connection lost during COMMIT is never tried again, for it may have committed: the
database backend finds out whether it has, by an event that the transaction wrote.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connection

from events.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

WAIT_SECONDS_MAX = 2.0  # what a caller waits for locks in all, before it hears 503
PAUSE_SECONDS_MAX = 0.02

# MySQL and MariaDB: lock wait timeout, deadlock, record changed since it was read.
BROKEN_OFF = frozenset({1205, 1213, 1020})


class CommitLost(OperationalError):
    """The connection was lost during COMMIT, and whether it took place cannot be said."""


def was_broken_off(error: BaseException) -> bool:
    """Whether the database gave up on a transaction for the locks of another one."""
    if not isinstance(error, OperationalError) or not error.args:
        return False
    return error.args[0] in BROKEN_OFF or "database is locked" in str(error.args[0])


def retried(use_case: Callable[P, T]) -> Callable[P, T]:
    """Run a use case again when its transaction was broken off; at last raise Unavailable.

    Goes around the outermost `transaction.atomic`; inside another transaction it does nothing.
    """

    @wraps(use_case)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if connection.in_atomic_block:
            return use_case(*args, **kwargs)
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            try:
                return use_case(*args, **kwargs)
            except OperationalError as error:
                if not was_broken_off(error):
                    raise
                if time.monotonic() >= deadline:
                    raise Unavailable from error
            time.sleep(random.uniform(0, PAUSE_SECONDS_MAX))

    return run
