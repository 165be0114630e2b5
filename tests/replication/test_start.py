"""No process starts on servers that are not what the settings say; without some of them it does."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from config.databases.start import check_servers
from tests.conftest import ROOT
from tests.replication.cluster import FIRST, PRIMARY, SECOND, Cluster
from tests.running import free_port

pytest.importorskip("gunicorn", reason="NO GUNICORN: the production set is not installed")

WEB = [sys.executable, "-m", "gunicorn", "-c", "python:config.server.gunicorn_settings"]
PROCESSES = {
    "web": WEB,
    "stream": [sys.executable, "-m", "config.server"],
    # One of the commands; tests/events/test_processes.py has them all.
    "relay": [sys.executable, "manage.py", "run_relay"],
}
APP_USER = "'openbell'@'127.0.0.1'"


def refusal() -> str:
    with pytest.raises(ImproperlyConfigured) as refused:
        check_servers()
    return str(refused.value)


def address(alias: str) -> str:
    return f"{connections.settings[alias]['HOST']}:{connections.settings[alias]['PORT']}"


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
    row = "app = 'access' AND name = '0001_initial'"
    took_at = replicated.sql(PRIMARY, f"SELECT applied FROM openbell.django_migrations WHERE {row}")
    again = (
        "INSERT INTO openbell.django_migrations (app, name, applied)"
        f" VALUES ('access', '0001_initial', '{took_at}')"
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
    replicated, caplog, number
):
    for node in (FIRST, SECOND):
        replicated.signal(node, number)
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING, "config.databases.start"):
        check_servers()

    assert time.monotonic() - begun < 3
    assert sorted(record.args[0] for record in caplog.records) == [
        f"{alias} at {address(alias)}" for alias in ("replica_1", "replica_2")
    ]


def start(name: str, cluster: Cluster, redis_url: str) -> subprocess.Popen[str]:
    """A process of the platform on this cluster, on a port of its own."""
    return subprocess.Popen(
        PROCESSES[name],
        cwd=ROOT,
        env=environment(cluster, redis_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def environment(cluster: Cluster, redis_url: str, **more: str) -> dict[str, str]:
    urls = [
        f"mysql://openbell:openbell@{address(alias)}/openbell"
        for alias in ("default", "replica_1", "replica_2")
    ]
    return {
        **os.environ,
        "DATABASE_URL": urls[0],
        "REPLICA_URLS": ",".join(urls[1:]),
        "REDIS_URL": redis_url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "OPENBELL_ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-tests",
        "PORT": str(free_port()),
        **more,
    }


def test_no_process_of_any_kind_starts_on_a_replica_that_takes_writes(replicated, redis_url):
    with sql(replicated, FIRST, "SET GLOBAL read_only=0", "SET GLOBAL read_only=1"):
        started = [start(name, replicated, redis_url) for name in PROCESSES]
        try:
            said = {
                name: process.communicate(timeout=30)[0]
                for name, process in zip(PROCESSES, started, strict=True)
            }
        finally:
            for process in started:
                process.kill()
                process.communicate()

    assert [process.returncode for process in started] == [1] * len(PROCESSES)
    for name, output in said.items():
        assert f"replica_1 at {address('replica_1')} accepts writes" in output, name
        assert "Traceback" not in output, name


@pytest.mark.parametrize("name", ["web", "stream"])
def test_a_process_starts_while_its_primary_is_away(name):
    """It says that it is not ready; what watches it hears that it is alive."""
    port = free_port()
    process = subprocess.Popen(
        PROCESSES[name],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": f"mysql://openbell:openbell@127.0.0.1:{free_port()}/openbell",
            "REPLICA_URLS": "",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "OPENBELL_ENV_FILE": os.devnull,
            "SECRET_KEY": "only-for-tests",
            "PORT": str(port),
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert answer(port, "/healthz").startswith("HTTP/1.1 200")
        assert answer(port, "/readyz").startswith("HTTP/1.1 503")
    finally:
        process.terminate()
        said = process.communicate(timeout=20)[1]
    assert "does not answer, starting without it" in said


def answer(port: int, path: str) -> str:
    """The answer to a GET, from a server that may still be starting."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                client.sendall(request.encode())
                return client.makefile().read()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
