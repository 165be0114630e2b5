"""Processes of the platform, as an operator starts them, on the cluster of these tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from tests.conftest import ROOT
from tests.running import READY_SECONDS_MAX, free_port

COMMANDS = {
    "web": [sys.executable, "-m", "gunicorn", "-c", "python:config.server.gunicorn_settings"],
    "stream": [sys.executable, "-m", "config.server"],
    # One of the commands; tests/events/test_processes.py has them all.
    "relay": [sys.executable, "manage.py", "run_relay"],
}
ALIASES = ("default", "replica_1", "replica_2")
ANSWER_SECONDS = 60.0


def address(alias: str) -> str:
    return f"{connections.settings[alias]['HOST']}:{connections.settings[alias]['PORT']}"


def servers(user: str = "openbell") -> dict[str, str]:
    """DATABASE_URL and REPLICA_URLS of the cluster, for a user whose password is the name."""
    urls = [f"mysql://{user}:{user}@{address(alias)}/openbell" for alias in ALIASES]
    return {"DATABASE_URL": urls[0], "REPLICA_URLS": ",".join(urls[1:])}


def start(kind: str, **told: str) -> subprocess.Popen[str]:
    """A process; what it says on both outputs comes through its stdout."""
    return subprocess.Popen(
        COMMANDS[kind],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "OPENBELL_ENV_FILE": os.devnull,
            "SECRET_KEY": "only-for-tests",
            "LOG_LEVEL": "WARNING",
            **told,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@contextmanager
def serving(kind: str, **told: str) -> Iterator[int]:
    """The port of a web or stream process that answers."""
    port = free_port()
    process = start(kind, PORT=str(port), **told)
    try:
        assert "200 OK" in ask(port, "/healthz")
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers
        process.communicate()


def ask(port: int, path: str, *headers: str) -> str:
    """The answer to a GET, from a server that may still be starting."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as client:
                client.sendall("\r\n".join(lines).encode())
                return client.makefile().read()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
