"""The whole topology under load, the hands that hurt it, and what must hold once it is healed.

A test hurts a server or process while the load trades on, looks at what clients were told, heals
it, and calls `settle`, which proves that nothing acknowledged is lost and nothing happened twice.
Whatever the supervisor starts again by itself is left to it; what it does not is continued here,
as a machine's operator would have it done.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import MySQLdb

from tests.conftest import LONG, ROOT
from tests.deploy.cluster import ANSWER_SECONDS_MAX, Cluster
from tests.faults.load import ACCOUNT, MARKET, PUBLIC, WRITE, Asked, Load, Person
from tests.running import stopped
from tests.waiting import eventually

PRIMARY, FIRST, SECOND = 0, 1, 2
TRADERS, MORE_TRADERS = 2, 6

# No answer may take longer. The primary has 2 s to be reached and 10 s for a statement, a request
# waits 1 s for a thread, and the edge 1 s for a process; a test may state a smaller bound.
REQUEST_SECONDS_MAX = 14.0
# From the moment a server answers again until an order is filled, without a human.
RECOVERY_SECONDS_MAX = 10.0 if LONG else 60.0
SETTLE_SECONDS_MAX = 15.0 if LONG else 60.0
MANAGE_SECONDS_MAX = 120.0 if LONG else 400.0

MAKE_PEOPLE = """
import json
from tests.people import a_trader
made = [a_trader(cash="10000000") for _ in range({count})]
print(json.dumps([[each.account.pk, each.key_id, each.secret] for each in made]))
"""


class Floor:
    """The running cluster and the load on it."""

    def __init__(self, home: Path) -> None:
        self.cluster = Cluster(home)
        self.load: Load

    def open(self) -> None:
        self.cluster.run("cluster", "up")
        self.environment = self.cluster.environment
        said = self.manage("shell", "-c", MAKE_PEOPLE.format(count=MORE_TRADERS))
        people = [Person(*each) for each in json.loads(said.strip().splitlines()[-1])]
        self.load = Load(self.cluster.port, people, begin_with=TRADERS)
        self.load.start()
        self.until_orders_fill()

    def close(self) -> None:
        if hasattr(self, "load"):
            self.load.stop()
        self.cluster.run("cluster", "down")

    # --- hands ---------------------------------------------------------------------------------

    def signal(self, name: str, number: signal.Signals) -> None:
        """Signal a process by its name in the Procfile."""
        os.kill(self.cluster.pid(name), number)

    def signal_database(self, node: int, number: signal.Signals) -> None:
        os.kill(self.database_pid(node), number)

    def database_pid(self, node: int) -> int:
        return int((Path(self.environment["DATABASES"]) / f"{node}.pid").read_text())

    @contextmanager
    def unwatched_databases(self) -> Iterator[None]:
        """A database that dies within the block is started again after it, and not before."""
        with stopped(self.cluster.pid("databases")):
            yield

    def sql(self, node: int, statement: str) -> list[tuple[Any, ...]]:
        """What one server, asked as root, says to a statement."""
        socket = f"{self.environment['DATABASES']}/{node}.sock"
        connection = MySQLdb.connect(
            unix_socket=socket, user="root", database="openbell", connect_timeout=2, read_timeout=10
        )
        with closing(connection), closing(connection.cursor()) as cursor:
            rows: list[tuple[Any, ...]] = []
            for each in filter(None, map(str.strip, statement.split(";"))):
                cursor.execute(each)
                rows = list(cursor.fetchall())
            return rows

    def redis(self, *command: str) -> str:
        """What Redis says to a command."""
        said = ["redis-cli", "-u", self.environment["REDIS_URL"], *command]
        return subprocess.run(said, capture_output=True, text=True, timeout=10, check=True).stdout

    def answers(self, node: int) -> bool:
        try:
            return self.sql(node, "SELECT 1") == [(1,)]
        except (OSError, MySQLdb.Error):
            return False

    def in_use(self, alias: str) -> bool:
        """Whether every web process reads from a replica."""
        return all(
            f'openbell_replica_ejected{{alias="{alias}"}} 0.0' in self._metrics(name)
            for name in ("WEB1_PORT", "WEB2_PORT")
        )

    def left_out(self, alias: str) -> bool:
        """Whether no web process does."""
        return all(
            f'openbell_replica_ejected{{alias="{alias}"}} 1.0' in self._metrics(name)
            for name in ("WEB1_PORT", "WEB2_PORT")
        )

    def readiness(self, port: str = "WEB1_PORT") -> dict[str, str]:
        """What a process says of itself to a balancer; it must say that it can serve."""
        url = f"http://127.0.0.1:{self.environment[port]}/readyz"
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS_MAX) as answer:
            return dict(json.load(answer))

    def _metrics(self, port: str) -> str:
        url = f"http://127.0.0.1:{self.environment[port]}/metrics"
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS_MAX) as answer:
            return str(answer.read().decode())

    def manage(self, *arguments: str) -> str:
        """Run a management command beside the cluster; it must succeed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                **self.environment,
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "PORT": str(self.cluster.port),
            },
            capture_output=True,
            text=True,
            timeout=MANAGE_SECONDS_MAX,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # --- what must hold ------------------------------------------------------------------------

    def until_orders_fill(self) -> float:
        """Wait until an order that is asked for now is filled; how long that took."""
        begun = time.monotonic()
        asked = len(self.load.orders)

        def filled() -> bool:
            names = [each.name for each in self.load.orders[asked:] if each.type == "market"]
            return any(self._status(name) == "filled" for name in names[-20:])

        eventually(filled, "an order to fill", RECOVERY_SECONDS_MAX)
        return time.monotonic() - begun

    def settle(self, since: float, *, slowest: float = REQUEST_SECONDS_MAX) -> None:
        """Prove what was traded: to be called once all is healed. Trading goes on after it.

        `since` is when the fault began; nothing asked from then on took longer than `slowest`.
        """
        self.until_orders_fill()
        self.load.pause()
        try:
            self._until_settled()
            self._each_order_is_there_once()
            self._every_update_was_heard()
            self.manage("reconcile")
        finally:
            self.load.go_on()
        assert self.load.wrong == []
        assert self.load.listener.wrong == []
        late = [each for each in self.load.since(since) if each.seconds > slowest]
        assert late == []

    def _until_settled(self) -> None:
        def unsettled() -> list[str]:
            rows = self._orders()
            return [
                f"{each.name} ({each.type}, {each.canceled}): {rows[each.name][0]}"
                for each in self.load.orders
                if each.acknowledged and each.name in rows and not _is_settled(each, rows)
            ]

        try:
            eventually(lambda: not unsettled(), "orders to settle", SETTLE_SECONDS_MAX)
        except AssertionError as error:
            raise AssertionError(f"{error}: {unsettled()[:5]}") from None

    def _each_order_is_there_once(self) -> None:
        rows = self._orders()
        lost = [each for each in self.load.orders if each.acknowledged and each.name not in rows]
        assert lost == [], "acknowledged, and lost"
        for name, (status, orders, fills, quantity) in rows.items():
            assert orders == 1, f"{name} is there {orders} times"
            assert (fills, quantity) == ((1, 1) if status == "filled" else (0, 0)), name
        known = {each.name for each in self.load.orders}
        assert rows.keys() <= known

    def _every_update_was_heard(self) -> None:
        """Each event of the listener's account that is a trade update, from its beginning on."""
        listener = self.load.listener
        account = f"account_id = {listener.person.account_id}"
        numbers = {
            row[0]
            for row in self.sql(
                PRIMARY,
                f"SELECT account_sequence FROM events_event WHERE {account} AND kind LIKE"
                f" 'trading.order.%' AND account_sequence > {listener.begun_after}"
                " AND JSON_EXISTS(payload, '$.event') AND JSON_EXISTS(payload, '$.order')",
            )
        }
        eventually(lambda: numbers <= listener.heard.keys(), "trade updates", SETTLE_SECONDS_MAX)
        assert listener.heard.keys() <= numbers

    def _orders(self) -> dict[str, tuple[str, int, int, int]]:
        """By name: status, rows, fills and the quantity filled, in billionths, as shares."""
        rows = self.sql(
            PRIMARY,
            "SELECT o.client_order_id, MAX(o.status), COUNT(DISTINCT o.id), COUNT(f.id),"
            " COALESCE(SUM(f.quantity), 0) FROM trading_order o LEFT JOIN trading_fill f"
            " ON f.order_id = o.id WHERE o.client_order_id LIKE 'load-%' GROUP BY 1",
        )
        return {
            name.decode(): (status, count, fills, int(quantity) // 10**9)
            for name, status, count, fills, quantity in rows
        }

    def _status(self, name: str) -> str:
        rows = self.sql(PRIMARY, f"SELECT status FROM trading_order WHERE client_order_id='{name}'")
        return str(rows[0][0]) if rows else ""


def _is_settled(asked: Asked, rows: dict[str, tuple[str, int, int, int]]) -> bool:
    status = rows[asked.name][0]
    if asked.type == "market":
        return status == "filled"
    return (
        status
        in {"yes": ("canceled",), "perhaps": ("new", "canceled"), "": ("new",)}[asked.canceled]
    )


__all__ = ["ACCOUNT", "FIRST", "MARKET", "PRIMARY", "PUBLIC", "SECOND", "WRITE", "Floor"]
