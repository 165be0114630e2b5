"""Processes that are killed, or stopped, at a statement of their choice.

A `Forked` process is a copy of this one, with everything imported already, that makes its own
connections. One that is `armed` counts the points it passes: before each statement that it sends,
and before, within and after each COMMIT. At one of them it strikes itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from itertools import count
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created

from events.models import Lease
from tests.conftest import LONG
from tests.waiting import eventually

Fork = Callable[..., "Forked"]

WAIT_SECONDS_MAX = 60.0
TAKEOVER_SECONDS_MAX = 2.0 if LONG else 8.0  # two are promised, to a machine that has time
LABEL_CHARS = 60
BYSTANDER = "bystander"  # name of a thread whose statements are not counted


class Forked:
    """A copy of this process that does some work and ends. Reap it with `end`."""

    def __init__(self, work: Callable[[], None], arm: Armed | None = None) -> None:
        connections.close_all()  # or both would talk over one connection
        self._last, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_work(work, arm, writing))
        os.close(writing)
        self.result: int | None = None

    def wait(self, seconds: float = WAIT_SECONDS_MAX) -> int:
        """Wait for the end; 0 or 1 as it ended, or the negative number of the signal."""
        eventually(self.has_ended, f"the end of process {self.pid}", seconds)
        assert self.result is not None
        return self.result

    def has_ended(self) -> bool:
        if self.result is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.result = os.waitstatus_to_exitcode(status)
        return self.result is not None

    def wait_for_stop(self, seconds: float = WAIT_SECONDS_MAX) -> None:
        """Wait until it has stopped itself."""

        def has_stopped() -> bool:
            assert not self.has_ended(), f"process {self.pid} ended with {self.result}"
            return _state(self.pid) == "T"

        eventually(has_stopped, f"process {self.pid} to stop", seconds)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def struck_at(self) -> str:
        """What it was about to do, once it has ended or stopped."""
        return os.read(self._last, 4_096).decode()

    def end(self) -> None:
        """Make sure that nothing of it is left."""
        if not self.has_ended():
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        os.close(self._last)


def _work(work: Callable[[], None], arm: Armed | None, writing: int) -> int:
    try:
        if arm is not None:
            arm.watch(writing)
        work()
        return 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def owner_of(lease: str) -> int:
    """The number of the process that the lease's row names; 0 as long as it names none."""
    owner = Lease.objects.get(name=lease).owner
    return int(owner.split(":")[1]) if owner else 0


class Armed:
    """Strikes its own process with a signal at the n-th point that it passes, counted from one.

    With `only`, points count whose statement has that text in it, quotation marks left out.
    """

    def __init__(self, at: int, number: signal.Signals = signal.SIGKILL, *, only: str = "") -> None:
        self._at = at
        self._signal = number
        self._only = only
        self._points = count(1)

    def watch(self, writing: int) -> None:
        """Count the points of every connection that is made from now on."""
        self._writing = writing
        self._watched: set[int] = set()
        connection_created.connect(self._created, weak=False)

    def _created(self, connection: Any, **_: Any) -> None:
        if threading.current_thread().name == BYSTANDER or id(connection) in self._watched:
            return
        self._watched.add(id(connection))
        connection.execute_wrappers.append(self._execute)
        commit = connection._commit
        connection._commit = lambda: self._commit(connection, commit)

    def _execute(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        label = sql.replace("`", "").replace('"', "")
        if self._is_here(label):
            self._strike(label)
        return execute(sql, params, many, context)

    def _commit(self, connection: Any, commit: Callable[[], None]) -> None:
        if self._is_here("before COMMIT"):
            self._strike("before COMMIT")
        if connection.vendor == "mysql" and self._is_here("within COMMIT"):
            connection.connection.send_query(b"COMMIT")  # and nobody reads the answer
            self._strike("within COMMIT")
            connection.connection.read_query_result()
        else:
            commit()
        if self._is_here("after COMMIT"):
            self._strike("after COMMIT")

    def _is_here(self, label: str) -> bool:
        return self._only in label and next(self._points) == self._at

    def _strike(self, label: str) -> None:
        os.write(self._writing, label[:LABEL_CHARS].encode())
        os.kill(os.getpid(), self._signal)
        time.sleep(0.01)  # where another thread takes the signal, it takes a moment
