"""A web process under more than it can do: bounded, prompt, and nobody hangs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import free_port

pytest.importorskip("gunicorn", reason="NO GUNICORN: the production set is not installed")

from config.server.gunicorn_worker import WAITING_PER_THREAD

ROOT = Path(__file__).resolve().parents[3]
THREADS = 4
READY_SECONDS_MAX = 20


class Web:
    """A gunicorn with one worker of ours, on a port of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn"),
                *("-c", "python:config.server.gunicorn_settings"),
                "tests.config.server.busy:application",
            ],
            cwd=ROOT,
            env={**os.environ, "PORT": str(self.port), "HTTP_THREADS": str(THREADS)},
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                if self.ask("/").status == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("gunicorn did not start")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def ask(self, path: str, *headers: str) -> Answer:
        with self.connect() as client:
            client.sendall(request(path, "Connection: close", *headers))
            return answer_of(client)


class Answer:
    """The head of an answer, and how long it took."""

    def __init__(self, raw: bytes, seconds: float = 0.0) -> None:
        self.status = int(raw.split(b" ", 2)[1])
        self.head, _, self.body = raw.partition(b"\r\n\r\n")
        self.seconds = seconds


def request(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode()


def answer_of(client: socket.socket) -> Answer:
    raw = b""
    while part := client.recv(65_536):
        raw += part
    return Answer(raw)


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    web = Web()
    try:
        web.wait_until_ready()
        yield web
    finally:
        web.process.kill()
        web.process.communicate()


async def ask_many(port: int, paths: list[str]) -> list[Answer]:
    async def ask(path: str) -> Answer:
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(path, "Connection: close"))
        raw = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return Answer(raw, time.monotonic() - begun)

    return await asyncio.gather(*(ask(path) for path in paths))


async def test_500_slow_requests_at_once_are_answered_or_refused_promptly(web: Web) -> None:
    answers = await ask_many(web.port, ["/slow?0.7"] * 500)

    served = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 503]
    assert len(served) + len(refused) == 500
    assert THREADS <= len(served) <= THREADS * (1 + WAITING_PER_THREAD)
    assert max(int(answer.body) for answer in served) == THREADS
    assert all(b"retry-after: 1" in answer.head.lower() for answer in refused)
    assert all(answer.body.startswith(b'{"code":50310000,') for answer in refused)
    # Those that found the queue full hear at once, those in it after a second at most; the rest of
    # the time is this test's own 500 connections.
    assert max(answer.seconds for answer in refused) < 3
    assert web.ask("/").status == 200


async def test_who_waits_for_a_second_is_refused_while_every_thread_is_busy(web: Web) -> None:
    answers = await ask_many(web.port, ["/slow?2.5"] * THREADS + ["/slow?0"] * THREADS)

    refused = [answer for answer in answers if answer.status == 503]
    assert len(refused) == THREADS
    assert all(0.9 < answer.seconds < 2 for answer in refused)


def test_clients_that_say_nothing_hold_no_thread(web: Web) -> None:
    silent = [web.connect() for _ in range(4 * THREADS)]
    begun = time.monotonic()
    assert web.ask("/").status == 200
    assert time.monotonic() - begun < 1
    for client in silent:
        client.close()


def test_a_client_that_does_not_close_holds_up_nobody(web: Web) -> None:
    """Gunicorn's own worker would answer the next request two seconds later, per such client."""
    open_still = [web.connect() for _ in range(3)]
    for client in open_still:
        client.sendall(request("/", "Connection: close"))
        assert answer_of(client).status == 200  # and the socket stays open on this side
    begun = time.monotonic()
    assert web.ask("/").status == 200
    assert time.monotonic() - begun < 1
    for client in open_still:
        client.close()


def test_a_refused_client_reads_its_answer_whatever_it_was_sending(web: Web) -> None:
    """A reset would take the 503 with it: unread input must not become one."""
    busy = [web.connect() for _ in range(THREADS * (1 + WAITING_PER_THREAD))]
    for client in busy:
        client.sendall(request("/slow?0.8", "Connection: close"))
    time.sleep(0.2)
    with web.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n")
        client.sendall(b"x" * 200_000)
        assert answer_of(client).status == 503
    for client in busy:
        assert answer_of(client).status in (200, 503)
        client.close()


def test_a_stop_finishes_what_was_begun() -> None:
    web = Web()
    try:
        web.wait_until_ready()
        with web.connect() as client:
            client.sendall(request("/slow?0.5", "Connection: close"))
            time.sleep(0.2)
            web.process.send_signal(signal.SIGTERM)
            assert answer_of(client).status == 200
        assert web.process.wait(10) == 0
    finally:
        web.process.kill()
        web.process.communicate()


def test_a_worker_without_its_master_gives_up_the_port_though_clients_go_on_asking() -> None:
    """Or the next master could not listen, and who connects would wait for nobody."""
    web = Web()
    try:
        web.wait_until_ready()
        with web.connect() as client:
            web.process.kill()
            deadline = time.monotonic() + 5
            while not is_refused(web):
                assert time.monotonic() < deadline
                with contextlib.suppress(OSError):
                    client.sendall(request("/"))
                    client.recv(4096)
                time.sleep(0.1)
    finally:
        web.process.communicate()


def is_refused(web: Web) -> bool:
    try:
        web.connect().close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


def test_more_connections_than_a_database_has_is_a_plain_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "python:config.server.gunicorn_settings"],
        cwd=ROOT,
        env={**os.environ, "PORT": "1", "HTTP_THREADS": "60", "WEB_WORKERS": "2"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode != 0
    assert "is 120 connections" in done.stderr
