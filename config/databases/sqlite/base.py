"""SQLite for many threads of one process: writers queue here instead of in SQLite.

SQLite allows one writer. Left alone, a second one sleeps and polls until its busy timeout ends in
"database is locked". This backend lets a thread take its turn in a fair in-process queue before
`BEGIN IMMEDIATE` and gives the turn on at commit, rollback or close; a writing statement outside
a transaction takes a turn for itself. Readers take none: WAL shows them the last commit while a
writer works. The busy timeout remains for writers in other processes, such as a management
command beside a running server.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError

TURN_TIMEOUT_SECONDS = 10.0
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLAC")  # six letters are enough to tell


class WriteQueue:
    """A lock that is handed on in the order of asking, so that no writer starves."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, timeout_seconds: float) -> bool:
        """Wait for the turn; False when it did not come in time."""
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=timeout_seconds):
            return True
        with self._guard:
            if turn not in self._waiting:
                return True  # handed over between the timeout and this line
            self._waiting.remove(turn)
            return False

    def release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


_queues: dict[str, WriteQueue] = {}
_queues_guard = threading.Lock()


def queue_for(name: str) -> WriteQueue:
    """The one queue of a database file in this process."""
    with _queues_guard:
        return _queues.setdefault(name, WriteQueue())


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's SQLite connection, with turns for writers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._queue: WriteQueue | None = None  # the queue whose turn this connection holds

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        params.setdefault("timeout", TURN_TIMEOUT_SECONDS)
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # acknowledged means on disk
        return connection

    def create_cursor(self, name: str | None = None) -> Cursor:
        cursor = self.connection.cursor(factory=Cursor)
        cursor.wrapper = self
        return cursor

    def take_turn(self) -> None:
        """Wait until this connection may write; OperationalError when its turn never comes."""
        name = str(self.settings_dict["NAME"])
        queue = queue_for(name if ":memory:" in name else str(Path(name).resolve()))
        if not queue.acquire(TURN_TIMEOUT_SECONDS):
            raise OperationalError("database is locked: no turn to write came in time")
        self._queue = queue

    def give_turn(self) -> None:
        """Let the next writer go; harmless without a turn."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.release()

    @property
    def has_turn(self) -> bool:
        return self._queue is not None

    def _start_transaction_under_autocommit(self) -> None:
        self.take_turn()
        try:
            self.cursor().execute("BEGIN IMMEDIATE")
        except BaseException:
            self.give_turn()
            raise

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        self.give_turn()  # a failed commit keeps the turn until the rollback that follows

    def _rollback(self) -> None:
        super()._rollback()  # type: ignore[misc]
        self.give_turn()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self.give_turn()


class Cursor(base.SQLiteCursorWrapper):
    """A cursor that takes a turn for a writing statement outside a transaction."""

    wrapper: DatabaseWrapper

    def execute(self, query: str, params: Any = None) -> Any:
        if not self._needs_turn(query):
            return super().execute(query, params)
        self.wrapper.take_turn()
        try:
            return super().execute(query, params)
        finally:
            self.wrapper.give_turn()

    def executemany(self, query: str, param_list: Any) -> Any:
        if not self._needs_turn(query):
            return super().executemany(query, param_list)
        self.wrapper.take_turn()
        try:
            return super().executemany(query, param_list)
        finally:
            self.wrapper.give_turn()

    def _needs_turn(self, query: str) -> bool:
        return not self.wrapper.has_turn and query.lstrip()[:6].upper().startswith(WRITES)
