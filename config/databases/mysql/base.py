"""MySQL and MariaDB: statements are counted per server, lost replicas reported, lost commits
looked into.
"""

from __future__ import annotations

import time
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, IntegrityError, OperationalError
from django.db.backends.mysql import base
from MySQLdb import Error
from MySQLdb.constants import FIELD_TYPE
from prometheus_client import Counter

from config.databases.mysql.commit import find_out
from config.databases.reading import note_lost, note_primary_lost, primary_unreachable

QUERIES = Counter("openbell_database_queries_total", "Statements, by server.", ["alias"])

# Unreachable, gone away, lost during a query, shutting down, killed; 0 is mysqlclient's word for
# a connection that is closed.
LOST = frozenset({0, 2002, 2003, 2005, 2006, 2013, 2055, 1053, 1927})

BEGIN = "BEGIN"

READERS = {FIELD_TYPE.DATETIME: datetime.fromisoformat, FIELD_TYPE.DATE: date.fromisoformat}

# A connection that has answered within that time is taken to be there still.
ANSWERED_SECONDS = 1.0


counted = lru_cache(QUERIES.labels)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's MySQL connection; see the module."""

    is_to_begin = False  # a transaction, with the next statement
    answered_at = float("-inf")  # monotonic: when the server last answered a statement

    def is_usable(self) -> bool:
        """Ask the server, unless it has just answered: a busy process would ask all the time."""
        if not self.errors_occurred and time.monotonic() - self.answered_at < ANSWERED_SECONDS:
            return True
        return super().is_usable()

    def get_connection_params(self) -> dict[str, Any]:
        """With instants and dates read by C, where MySQLdb takes them apart in Python."""
        params = super().get_connection_params()
        params["conv"] = {**params["conv"], **READERS}
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        self.is_to_begin, self.answered_at = False, float("-inf")
        try:
            return super().get_new_connection(conn_params)
        except Error as error:
            self.note_lost()  # whatever the reason, nobody can read there
            if self.alias == DEFAULT_DB_ALIAS and error.args[0] in LOST:
                primary_unreachable.send(DatabaseWrapper)
            raise

    def create_cursor(self, name: str | None = None) -> Any:
        return Cursor(self.connection.cursor(), self)

    def _start_transaction_under_autocommit(self) -> None:
        """Begin it with the first statement, in one trip to the server.

        Django would turn autocommit off and on again, and ask the server for each.
        """
        self.is_to_begin = True

    def _rollback(self) -> None:
        if self._has_begun():
            super()._rollback()  # type: ignore[misc]

    def _has_begun(self) -> bool:
        """Whether the server knows of the transaction that ends here."""
        is_to_begin, self.is_to_begin = self.is_to_begin, False
        return not is_to_begin

    def _commit(self) -> None:
        if not self._has_begun():
            return
        try:
            super()._commit()  # type: ignore[misc]
        except OperationalError as error:
            if error.args[0] not in LOST:
                raise
            find_out(self, error)

    def note_lost(self) -> None:
        """Where this is a replica: its request is void, and others go elsewhere."""
        if self.alias in settings.REPLICAS:
            note_lost(self.alias)
        elif self.alias == DEFAULT_DB_ALIAS:
            note_primary_lost()


class Cursor(base.CursorWrapper):
    """Django's cursor, which counts what it is asked and sees connections go."""

    def __init__(self, cursor: Any, wrapper: DatabaseWrapper) -> None:
        super().__init__(cursor)
        self._wrapper = wrapper
        self._queries = counted(wrapper.alias)

    def execute(self, query: str, args: Any = None) -> Any:
        self._queries.inc()
        begins, self._wrapper.is_to_begin = self._wrapper.is_to_begin, False
        try:
            answer = super().execute(f"{BEGIN}; {query}" if begins else query, args)
        except Error as error:
            self._note(error)
            raise
        self._wrapper.answered_at = time.monotonic()
        if begins:
            self.nextset()
            answer = self.cursor.rowcount
        return answer

    def executemany(self, query: str, args: Any) -> Any:
        if self._wrapper.is_to_begin:
            self._wrapper.is_to_begin = False
            self.execute(BEGIN)
        self._queries.inc()
        try:
            return super().executemany(query, args)
        except Error as error:
            self._note(error)
            raise

    def nextset(self) -> Any:
        """Go on to what the next of several statements said, or raise why it failed."""
        try:
            return self.cursor.nextset()
        except Error as error:
            self._note(error)
            if error.args and error.args[0] in self.codes_for_integrityerror:
                raise IntegrityError(*error.args) from None
            raise

    def _note(self, error: Error) -> None:
        if error.args and error.args[0] in LOST:
            self._wrapper.note_lost()
