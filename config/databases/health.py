"""Which replicas are fit to be read from, watched by this process.

A thread for each replica looks at it each second. Its lag is the age of the heartbeat's row there.
A replica that does not answer, can be written to or lags too much is ejected; it returns by itself
with the next look that finds it well. A look that is overdue counts as a bad one.

Where the primary is silent the heartbeat stands still, and its age says nothing: then a replica is
judged by the age it had when the primary was last heard, so that reading goes on.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections
from prometheus_client import Gauge

from config.databases import heartbeat
from config.databases.reading import primary_unreachable, replica_lost

LOOK_SECONDS = 1.0
OVERDUE_SECONDS = 1.5  # with the lag it stays below what an account is pinned for
TIMEOUT_SECONDS = 1
FIRST_LOOK_SECONDS = 1.0  # what the first request of a process waits for an opinion

# Of several workers, what the worst one says.
EJECTED = Gauge(
    "openbell_replica_ejected",
    "1 while a replica is not read from.",
    ["alias"],
    multiprocess_mode="livemax",
)
LAG = Gauge(
    "openbell_replica_lag_seconds",
    "Age of the heartbeat on a replica.",
    ["alias"],
    multiprocess_mode="livemax",
)

log = logging.getLogger(__name__)

LOOK = (
    "SELECT TIMESTAMPDIFF(MICROSECOND, expires_at, UTC_TIMESTAMP(6)), @@read_only"
    " FROM events_lease WHERE name = %s"
)


@dataclass(slots=True)
class Look:
    """What a look at a replica found."""

    problem: str  # why it is not fit; "" where it is
    at: float  # monotonic seconds


class Watch:
    """The threads that look at the replicas, and the one that keeps the heartbeat."""

    def __init__(self, aliases: list[str]) -> None:
        self._stop = threading.Event()
        self._looks = {alias: Look("not looked at yet", 0.0) for alias in aliases}
        self._seen = {alias: threading.Event() for alias in aliases}
        self.heart = heartbeat.Heart()
        self._threads = [
            threading.Thread(target=self._watch, args=(alias,), name=alias, daemon=True)
            for alias in aliases
        ]
        self._threads.append(
            threading.Thread(
                target=self.heart.beat_until, args=(self._stop,), name="heartbeat", daemon=True
            )
        )
        for thread in self._threads:
            thread.start()
        deadline = time.monotonic() + FIRST_LOOK_SECONDS
        for seen in self._seen.values():
            seen.wait(max(0.0, deadline - time.monotonic()))

    def usable(self) -> list[str]:
        now = time.monotonic()
        return [
            alias
            for alias, look in self._looks.items()
            if not look.problem and now - look.at <= OVERDUE_SECONDS
        ]

    def note(self, alias: str, problem: str) -> None:
        """Take down what is wrong with a replica, "" for nothing."""
        before, self._looks[alias] = self._looks[alias], Look(problem, time.monotonic())
        EJECTED.labels(alias).set(bool(problem))
        self._seen[alias].set()
        if problem and not before.problem:
            log.warning("%s is ejected: %s", alias, problem)
        elif before.problem and not problem:
            log.info("%s is read from again", alias)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS * 2)

    def _watch(self, alias: str) -> None:
        connection = _own_connection(alias)
        try:
            while not self._stop.is_set():
                self.note(alias, self._problem(alias, connection))
                self._stop.wait(LOOK_SECONDS)
        finally:
            connection.close()

    def _problem(self, alias: str, connection: Any) -> str:
        try:
            with connection.cursor() as cursor:
                cursor.execute(LOOK, [heartbeat.NAME])
                row = cursor.fetchone()
        except DatabaseError as error:
            connection.close()
            return f"it does not answer ({error})"
        if row is None or row[0] is None:
            return "it has no heartbeat yet"
        age, read_only = heartbeat.age_seconds(row[0]), row[1]
        LAG.labels(alias).set(age)
        if not read_only:
            return "it can be written to"
        lag = age - self.heart.silent_seconds()
        if lag > settings.REPLICA_LAG_MAX_SECONDS:
            return f"it lags {lag:.1f} s"
        return ""


def _own_connection(alias: str) -> Any:
    """A connection for looking only, which waits for nothing longer than a look may take."""
    connection = connections[alias].copy(f"{alias}:watch")  # its losses are no request's
    options = connection.settings_dict["OPTIONS"]
    for name in ("connect_timeout", "read_timeout", "write_timeout"):
        options[name] = TIMEOUT_SECONDS
    return connection


# --- the watch of this process ------------------------------------------------------------------

_watch: Watch | None = None
_starting = threading.Lock()
_turns = itertools.count(random.randrange(1 << 16))  # processes begin at different replicas


def next_replica() -> str | None:
    """The replica whose turn it is; None where none is fit."""
    usable = usable_replicas()
    return usable[next(_turns) % len(usable)] if usable else None


def usable_replicas() -> list[str]:
    """The replicas to read from just now; the first call of a process begins to watch them."""
    global _watch
    if not settings.REPLICAS:
        return []
    if _watch is None:
        with _starting:
            if _watch is None:
                _watch = Watch(list(settings.REPLICAS))
    return _watch.usable()


def eject(alias: str, **_: Any) -> None:
    """Send nobody to this replica until a look finds it well."""
    if _watch is not None:
        _watch.note(alias, "a request lost it")


def primary_is_away() -> bool:
    """Whether the primary has not answered this process of late, as far as it watches."""
    return _watch is not None and _watch.heart.is_away()


def note_unreachable(**_: Any) -> None:
    """Have nobody wait for the primary until the heartbeat reaches it again."""
    if _watch is not None:
        _watch.heart.note_unreachable()


replica_lost.connect(eject, dispatch_uid="eject")
primary_unreachable.connect(note_unreachable, dispatch_uid="note_unreachable")


def forget_watch() -> None:
    """Stop watching; the next call of `usable_replicas` begins anew."""
    global _watch
    with _starting:
        gone, _watch = _watch, None
    if gone is not None:
        gone.stop()


def _start_afresh_in_child() -> None:
    global _watch, _starting
    _watch, _starting = None, threading.Lock()


os.register_at_fork(after_in_child=_start_afresh_in_child)  # a thread does not survive a fork
