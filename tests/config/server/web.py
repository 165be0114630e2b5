"""A gunicorn of our own with one worker, for the tests beside it, and how to talk to it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.server.gunicorn_worker import WAITING_PER_THREAD
from tests.config.server.gate import Gate
from tests.running import free_port, workers_of
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[3]
THREADS = 4
ADMITTED = THREADS * (1 + WAITING_PER_THREAD)  # requests that run or wait
BUSY = "tests.config.server.busy"  # an application, and settings without a database
READY_SECONDS_MAX = 60
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "python:config.server.gunicorn_settings"]


class Web:
    """A gunicorn with one worker of ours, on a port of its own."""

    def __init__(self, application: str = f"{BUSY}:application", **more: str) -> None:
        self.port = free_port()
        told = {"PORT": str(self.port), "HTTP_THREADS": str(THREADS), **more}
        self.process = subprocess.Popen(
            [*GUNICORN, application],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": BUSY, **told},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                if self.ask("/healthz").status == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"gunicorn did not start:\n{self.kill()}")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)

    def ask(self, path: str, *headers: str) -> Answer:
        with self.connect() as client:
            client.sendall(request(path, "Connection: close", *headers))
            return answer_of(client)

    def open_files(self) -> int:
        """How many files and sockets the worker holds."""
        worker = workers_of(self.process.pid)[0]
        return len(list(Path(f"/proc/{worker}/fd").iterdir()))

    def kill(self) -> str:
        """End it and its workers, whatever they do; what they complained of."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        assert self.process.stderr is not None
        return "" if self.process.stderr.closed else self.process.communicate()[1]


class Answer:
    """The head of an answer, and how long it took."""

    def __init__(self, raw: bytes, seconds: float = 0.0) -> None:
        self.status = int(raw.split(b" ", 2)[1])
        self.head, _, self.body = raw.partition(b"\r\n\r\n")
        self.seconds = seconds


@contextmanager
def running(application: str = f"{BUSY}:application", **more: str) -> Iterator[Web]:
    web = Web(application, **more)
    try:
        web.wait_until_ready()
        yield web
    finally:
        web.kill()


def fill(web: Web, gate: Gate) -> list[socket.socket]:
    """Clients that keep every thread, until the gate opens, and every place in the queue.

    One of them found it full.
    """
    clients = [web.connect() for _ in range(ADMITTED + 1)]
    for number, client in enumerate(clients, 1):
        client.sendall(request(gate.path, "Connection: close"))
        gate.wait_for(min(number, THREADS))
    refused, _, _ = select.select(clients, [], [], PATIENCE_SECONDS)
    assert refused
    return clients


def request(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode()


def answer_of(client: socket.socket) -> Answer:
    """All that comes until the server closes."""
    raw = b""
    while part := client.recv(65_536):
        raw += part
    return Answer(raw)


def next_answer(client: socket.socket) -> Answer:
    """One answer of a connection that stays open; it has a Content-Length."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1) or _gone()
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = bytearray()
    while len(body) < length:
        body += client.recv(min(65_536, length - len(body))) or _gone()
    return Answer(head + body)


def _gone() -> bytes:
    raise ConnectionError("the server closed the connection")
