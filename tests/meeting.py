"""Threads that meet: what they do at the same moment, and rows that somebody holds meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from events.errors import OpenbellError
from portfolios.locks import lock_account
from portfolios.models import Account

WAIT_SECONDS_MAX = 60.0


def only_with_row_locks() -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("NO ROW LOCKS on this database: set DATABASE_URL to a MariaDB or MySQL")


def at_once(*works: Callable[[], Any], ready: Callable[[], Any] = lambda: None) -> list[Any]:
    """What they return, each in a thread of its own; all begin when every thread is `ready`.

    Where one cannot become ready, none begins, and what kept it is raised.
    """
    start = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        try:
            try:
                ready()
            except BaseException:
                start.abort()
                raise
            start.wait(WAIT_SECONDS_MAX)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as threads:
        jobs = [threads.submit(run, work) for work in works]
    errors = [error for job in jobs if (error := job.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error  # the cause, rather than that the others waited in vain
    return [job.result() for job in jobs]


def together(*works: Callable[[], Any], expected: type[Exception] = OpenbellError) -> list[Any]:
    """The same over database connections of their own; expected errors are outcomes."""

    def outcome(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except expected as error:
            return error

    return at_once(
        *(partial(outcome, work) for work in works), ready=lambda: connection.ensure_connection()
    )


class LockedAccount:
    """An account whose row another connection holds until told to let go."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._held, self._let_go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def _hold(self) -> None:
        try:
            with transaction.atomic():
                lock_account(self._account.pk)
                self._held.set()
                self._let_go.wait(WAIT_SECONDS_MAX)
        finally:
            connection.close()

    def let_go(self) -> None:
        self._let_go.set()

    def __enter__(self) -> LockedAccount:
        self._thread.start()
        assert self._held.wait(WAIT_SECONDS_MAX)
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self._thread.join(WAIT_SECONDS_MAX)
        assert not self._thread.is_alive()
