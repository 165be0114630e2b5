"""Processes that a benchmark starts, where they listen, and what CPU they have had."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "python:config.server.gunicorn_settings"]
EXECUTION = [sys.executable, "manage.py", "run_execution"]
START_SECONDS = 60
STOP_SECONDS = 40  # longer than a web process finishes what it has begun


@contextmanager
def running(command: list[str], more: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, with this much more in its environment."""
    environment = {**os.environ, **more}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(STOP_SECONDS)


def cpu_ns(session: int) -> int:
    """CPU time of all threads of a session's processes."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # pid (name) state parent group session …; the name may hold anything.
            if int((process / "stat").read_text().rpartition(")")[2].split()[3]) != session:
                continue
            for thread in (process / "task").glob("*/schedstat"):
                total += int(thread.read_text().split()[0])
        except (OSError, ValueError):
            continue  # it ended meanwhile
    return total


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: Any = probe.getsockname()[1]
        return int(port)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing came to listen on port {port}") from None
            time.sleep(0.1)
