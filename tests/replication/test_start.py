"""No process starts on servers that are not what the settings say; without some of them it does."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from config.databases import start as checks
from config.databases.start import ANSWER_SECONDS_MAX, check_servers
from tests.replication.cluster import FIRST, PRIMARY, SECOND, Cluster
from tests.replication.processes import COMMANDS, address, ask, servers, start
from tests.running import free_port

pytest.importorskip("gunicorn", reason="NO GUNICORN: the production set is not installed")

END_SECONDS_MAX = 120.0
APP_USER = "'openbell'@'127.0.0.1'"


def refusal() -> str:
    with pytest.raises(ImproperlyConfigured) as refused:
        check_servers()
    return str(refused.value)


@contextmanager
def sql(cluster: Cluster, node: int, statement: str, undo: str) -> Iterator[None]:
    hurt = cluster.hurt
    cluster.sql(node, statement)
    try:
        yield
    finally:
        cluster.sql(node, undo)
        cluster.hurt = hurt  # nothing is left to heal


def test_servers_as_the_settings_say_them_are_fine_and_left_alone(replicated):
    before = connections_of_us(replicated)
    check_servers()
    assert connections_of_us(replicated) == before


def connections_of_us(cluster: Cluster) -> list[str]:
    count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'openbell'"
    return [cluster.sql(node, count) for node in (PRIMARY, FIRST, SECOND)]


def test_a_replica_that_takes_writes_is_refused(replicated):
    with sql(replicated, FIRST, "SET GLOBAL read_only=0", "SET GLOBAL read_only=1"):
        assert refusal() == (
            f"replica_1 at {address('replica_1')} accepts writes: set read_only=1 there, or take"
            " it out of REPLICA_URLS."
        )


def test_a_replica_that_is_read_only_for_others_is_refused(replicated):
    """On the replica alone, as somebody's repair would leave it."""
    grant = f"GRANT READ_ONLY ADMIN ON *.* TO {APP_USER}"
    revoke = f"REVOKE READ_ONLY ADMIN ON *.* FROM {APP_USER}"
    with sql(replicated, SECOND, grant, revoke):
        assert refusal().startswith(
            f"replica_2 at {address('replica_2')} is read-only, but not for the user openbell:"
        )


def test_a_primary_that_takes_no_writes_is_refused(replicated):
    with sql(replicated, PRIMARY, "SET GLOBAL read_only=1", "SET GLOBAL read_only=0"):
        assert refusal().startswith(f"The primary at {address('default')} is read-only:")


def test_a_user_who_may_not_write_on_the_primary_is_refused(replicated):
    revoke, grant = f"REVOKE DELETE ON openbell.* FROM {APP_USER}", f"TO {APP_USER}"
    with sql(replicated, PRIMARY, revoke, f"GRANT DELETE ON openbell.* {grant}"):
        assert "does not let the user openbell write: grant it ALL on openbell." in refusal()


def test_a_schema_that_is_behind_is_refused(replicated):
    names = "SELECT name FROM openbell.django_migrations WHERE app = 'access'"
    newest = replicated.sql(PRIMARY, f"{names} ORDER BY name DESC LIMIT 1")
    row = f"app = 'access' AND name = '{newest}'"
    took_at = replicated.sql(PRIMARY, f"SELECT applied FROM openbell.django_migrations WHERE {row}")
    again = (
        "INSERT INTO openbell.django_migrations (app, name, applied)"
        f" VALUES ('access', '{newest}', '{took_at}')"
    )
    with sql(replicated, PRIMARY, f"DELETE FROM openbell.django_migrations WHERE {row}", again):
        found = refusal()
    assert found.startswith(f"The primary at {address('default')} has a schema that is behind by ")
    assert found.endswith(": run manage.py migrate.")


@pytest.mark.parametrize(("alias", "variable"), [("default", "DATABASE"), ("replica_1", "REPLICA")])
def test_a_wrong_password_is_refused(replicated, monkeypatch, alias, variable):
    monkeypatch.setitem(connections.settings[alias], "PASSWORD", "wrong")
    connections[alias].close()

    assert f"correct user, password or database in {variable}_URL" in refusal()


def test_everything_wrong_is_said_at_once(replicated):
    for node in (FIRST, SECOND):
        replicated.sql(node, "SET GLOBAL read_only=0")

    assert refusal().count("accepts writes") == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_servers_that_do_not_answer_delay_the_start_by_two_seconds_together(
    replicated, caplog, monkeypatch, number
):
    asked: list[float] = []

    def noted(alias: str, ask: Callable[[str], str] = checks._problem) -> str:
        asked.append(time.monotonic())
        return ask(alias)

    monkeypatch.setattr(checks, "_problem", noted)
    for alias, node in (("replica_1", FIRST), ("replica_2", SECOND)):
        patient = connections.settings[alias]["OPTIONS"]
        monkeypatch.setitem(patient, "connect_timeout", 10 * ANSWER_SECONDS_MAX)
        replicated.signal(node, number)
    with caplog.at_level(logging.WARNING, "config.databases.start"):
        check_servers()

    assert time.monotonic() - asked[0] < 3 * ANSWER_SECONDS_MAX
    assert max(asked) - min(asked) < ANSWER_SECONDS_MAX  # nobody waited for another's silence
    said = [record.args[0] for record in caplog.records if record.name == "config.databases.start"]
    assert sorted(said) == [f"{alias} at {address(alias)}" for alias in ("replica_1", "replica_2")]


def test_no_process_of_any_kind_starts_on_a_replica_that_takes_writes(replicated, redis_url):
    with sql(replicated, FIRST, "SET GLOBAL read_only=0", "SET GLOBAL read_only=1"):
        told = {**servers(), "REDIS_URL": redis_url}
        started = {kind: start(kind, PORT=str(free_port()), **told) for kind in COMMANDS}
        try:
            said = {
                kind: process.communicate(timeout=END_SECONDS_MAX)[0]
                for kind, process in started.items()
            }
        finally:
            for process in started.values():
                process.kill()
                process.communicate()

    for kind, output in said.items():
        assert started[kind].returncode == 1
        assert f"replica_1 at {address('replica_1')} accepts writes" in output, kind
        assert "Traceback" not in output, kind


@pytest.mark.parametrize("kind", ["web", "stream"])
def test_a_process_starts_while_its_primary_is_away(kind):
    """It says that it is not ready; what watches it hears that it is alive."""
    away = f"mysql://openbell:openbell@127.0.0.1:{free_port()}/openbell"
    port = free_port()
    process = start(kind, PORT=str(port), DATABASE_URL=away, REPLICA_URLS="")
    try:
        assert "200 OK" in ask(port, "/healthz")
        assert "503 Service Unavailable" in ask(port, "/readyz")
    finally:
        process.terminate()
        said = process.communicate(timeout=END_SECONDS_MAX)[0]
    assert "does not answer, starting without it" in said
