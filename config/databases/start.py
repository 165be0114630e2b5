"""What is asked of the database servers before a process starts.

A server that answers and is not what the settings say it is stops the start, with a sentence that
says what to do. One that does not answer stops nothing: a replica is ejected from the beginning,
and a process whose primary is away serves what it can until the primary is back.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS as PRIMARY
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

CONNECTIONS_MAX = 100  # of one instance, to all database servers together
ANSWER_SECONDS_MAX = 2  # of each server, which are asked side by side

# Changes no row. A read-only server refuses it before it looks whether there is such a table.
WRITE = "DELETE FROM events_lease WHERE 1 = 0"

# Codes of MySQL and MariaDB.
READ_ONLY = frozenset({1290, 1792, 1836})
MAY_NOT_WRITE = frozenset({1044, 1142})
NO_SUCH_TABLE = 1146
NOT_LET_IN = frozenset({1044, 1045, 1049, 1130, 1698})

log = logging.getLogger(__name__)


def check_servers() -> None:
    """Refuse to start on servers that are not what DATABASE_URL and REPLICA_URLS say.

    A replica that takes writes, a primary that takes none, a schema that is behind, a user who is
    not let in: each raises ImproperlyConfigured. Costs a connection to each server.
    """
    aliases = [alias for alias in connections if connections[alias].vendor != "unknown"]
    with ThreadPoolExecutor(max(1, len(aliases))) as threads:
        problems = [problem for problem in threads.map(_problem, aliases) if problem]
    if problems:
        raise ImproperlyConfigured("\n".join(problems))


def connections_max(*, threads: int, workers: int = 1, others: int = 0) -> int:
    """How many connections the processes of an instance open at most, to all servers together.

    Each of a worker's HTTP threads may speak to every server, `others` only to the primary. Where
    there are replicas, a worker watches each through a connection and beats on the primary.
    """
    servers = len(connections.settings)
    watching = servers if servers > 1 else 0
    return workers * (threads * servers + others + watching)


def check_connections(*, threads: int, workers: int = 1, others: int = 0) -> None:
    """Raises ImproperlyConfigured where that is more than an instance may have."""
    count = connections_max(threads=threads, workers=workers, others=others)
    if count > CONNECTIONS_MAX:
        servers = len(connections.settings)
        more = count // workers - threads * servers
        raise ImproperlyConfigured(
            f"WEB_WORKERS={workers} × (HTTP_THREADS={threads} × {servers} database servers"
            f" + {more} of its own) is {count} connections; an instance may have"
            f" {CONNECTIONS_MAX}. Example: WEB_WORKERS=2 HTTP_THREADS=8"
        )


def _problem(alias: str) -> str:
    """Why nobody may start with this server; "" where they may, or where it does not answer."""
    connection = _own_connection(alias)
    try:
        connection.ensure_connection()
        if alias != PRIMARY:
            return _problem_of_replica(connection)
        return _problem_of_primary(connection)
    except DatabaseError as error:
        return _problem_of_silence(connection, error)
    finally:
        connection.close()


def _own_connection(alias: str) -> Any:
    """This thread's connection to a server, which waits for nothing longer than a start may."""
    connection = connections[alias] = connections[alias].copy()
    if connection.vendor == "mysql":
        options = connection.settings_dict["OPTIONS"]
        for name in ("connect_timeout", "read_timeout", "write_timeout"):
            options[name] = min(options.get(name, ANSWER_SECONDS_MAX), ANSWER_SECONDS_MAX)
    return connection


def _problem_of_replica(connection: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@read_only")
        read_only = str(cursor.fetchone()[0]).upper() not in ("0", "OFF")
    if not read_only:
        return (
            f"{_name(connection)} accepts writes: set read_only=1 there, or take it out of"
            " REPLICA_URLS."
        )
    if _refusal_to_write(connection) is None:
        return (
            f"{_name(connection)} is read-only, but not for the user {_user(connection)}: take"
            " READ_ONLY ADMIN and SUPER from that user, or the replica out of REPLICA_URLS."
        )
    return ""


def _problem_of_primary(connection: Any) -> str:
    refusal = _refusal_to_write(connection) if connection.vendor == "mysql" else None
    if refusal in READ_ONLY:
        return (
            f"{_name(connection)} is read-only: let DATABASE_URL name the server that takes"
            " writes, or set read_only=0 there."
        )
    if refusal in MAY_NOT_WRITE:
        return (
            f"{_name(connection)} does not let the user {_user(connection)} write: grant it ALL"
            f" on {connection.settings_dict['NAME']}."
        )
    missing = _missing_migrations(connection)
    if missing:
        return (
            f"{_name(connection)} has a schema that is behind by {missing}"
            f" migration{'s' if missing > 1 else ''}: run manage.py migrate."
        )
    return ""


def _problem_of_silence(connection: Any, error: DatabaseError) -> str:
    code = error.args[0] if error.args else None
    if connection.vendor != "mysql":
        return f"{_name(connection)} cannot be used: {error}."
    if code in NOT_LET_IN:
        variable = "DATABASE_URL" if connection.alias == PRIMARY else "REPLICA_URLS"
        return (
            f"{_name(connection)} does not let us in ({error.args[1]}): correct user, password or"
            f" database in {variable}."
        )
    log.warning("%s does not answer, starting without it: %s", _name(connection), error)
    return ""


def _refusal_to_write(connection: Any) -> int | None:
    """The code with which a server refuses a write; None where it takes one."""
    connection.set_autocommit(False)
    try:
        with connection.cursor() as cursor:
            cursor.execute(WRITE)
    except DatabaseError as error:
        code = error.args[0]
        if code in READ_ONLY | MAY_NOT_WRITE:
            return int(code)
        if code != NO_SUCH_TABLE:
            raise
    finally:
        connection.rollback()
        connection.set_autocommit(True)
    return None


def _missing_migrations(connection: Any) -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _name(connection: Any) -> str:
    address = connection.settings_dict
    if connection.vendor != "mysql":
        return f"The database {address['NAME']}"
    name = "The primary" if connection.alias == PRIMARY else connection.alias
    return f"{name} at {address['HOST']}:{address['PORT']}"


def _user(connection: Any) -> str:
    return str(connection.settings_dict["USER"])
