"""A web process under more than it can do: bounded, prompt, and nobody hangs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("gunicorn", reason="NO GUNICORN: the production set is not installed")

from config.server.gunicorn_worker import WAITING_PER_THREAD
from tests.config.server.web import (
    GUNICORN,
    ROOT,
    THREADS,
    Answer,
    Web,
    answer_of,
    request,
    running,
)


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with running() as web:
        yield web


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


def test_a_query_of_a_thousand_symbols_is_let_in(web: Web) -> None:
    symbols = ",".join(f"SYM{number:03d}" for number in range(1000))
    assert web.ask(f"/v2/stocks/quotes/latest?symbols={symbols}").status == 200


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
    with running() as web:
        with web.connect() as client:
            client.sendall(request("/slow?0.5", "Connection: close"))
            time.sleep(0.2)
            web.process.send_signal(signal.SIGTERM)
            assert answer_of(client).status == 200
        assert web.process.wait(10) == 0


def test_a_worker_without_its_master_gives_up_the_port_though_clients_go_on_asking() -> None:
    """Or the next master could not listen, and who connects would wait for nobody."""
    with running() as web, web.connect() as client:
        web.process.kill()
        deadline = time.monotonic() + 5
        while not is_refused(web):
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError):
                client.sendall(request("/"))
                client.recv(4096)
            time.sleep(0.1)


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
        GUNICORN,
        cwd=ROOT,
        env={**os.environ, "PORT": "1", "HTTP_THREADS": "60", "WEB_WORKERS": "2"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "is 120 connections" in done.stderr
