"""MySQL and MariaDB: statements are counted per server, lost replicas reported, lost commits
looked into.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, OperationalError
from django.db.backends.mysql import base
from django.db.backends.utils import debug_transaction
from MySQLdb import Error
from prometheus_client import Counter

from config.databases.mysql.commit import find_out
from config.databases.reading import note_lost, primary_unreachable

QUERIES = Counter("openbell_database_queries_total", "Statements, by server.", ["alias"])

# Unreachable, gone away, lost during a query, shutting down, killed; 0 is mysqlclient's word for
# a connection that is closed.
LOST = frozenset({0, 2002, 2003, 2005, 2006, 2013, 2055, 1053, 1927})


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's MySQL connection; see the module."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
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
        """Django would turn autocommit off and on again, and ask the server for each."""
        with debug_transaction(self, "BEGIN"), self.wrap_database_errors:
            self.connection.query("BEGIN")

    def _commit(self) -> None:
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


class Cursor(base.CursorWrapper):
    """Django's cursor, which counts what it is asked and sees connections go."""

    def __init__(self, cursor: Any, wrapper: DatabaseWrapper) -> None:
        super().__init__(cursor)
        self._wrapper = wrapper
        self._queries = QUERIES.labels(wrapper.alias)

    def execute(self, query: str, args: Any = None) -> Any:
        self._queries.inc()
        try:
            return super().execute(query, args)
        except Error as error:
            self._note(error)
            raise

    def executemany(self, query: str, args: Any) -> Any:
        self._queries.inc()
        try:
            return super().executemany(query, args)
        except Error as error:
            self._note(error)
            raise

    def _note(self, error: Error) -> None:
        if error.args and error.args[0] in LOST:
            self._wrapper.note_lost()
