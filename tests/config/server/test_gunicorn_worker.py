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

from config.server.gunicorn_worker import LINGER_SECONDS_MAX
from tests.config.server.gate import Gate
from tests.config.server.web import (
    ADMITTED,
    GUNICORN,
    ROOT,
    THREADS,
    Answer,
    Web,
    answer_of,
    fill,
    request,
    running,
)
from tests.waiting import PATIENCE_SECONDS, eventually


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with running() as web:
        yield web


@pytest.fixture(scope="module")
def patient() -> Iterator[Web]:
    """Whose requests may wait for a thread as long as they like."""
    with running("tests.config.server.patient:application") as web:
        yield web


async def ask(web: Web, path: str) -> Answer:
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(request(path, "Connection: close"))
    raw = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
    writer.close()
    return Answer(raw, time.monotonic() - begun)


async def keep_busy(web: Web, gate: Gate) -> list[asyncio.Task[Answer]]:
    """A request for each thread, which runs until the gate opens."""
    begun = [asyncio.create_task(ask(web, gate.path)) for _ in range(THREADS)]
    await asyncio.to_thread(gate.wait_for, THREADS)
    return begun


async def test_500_requests_at_once_are_answered_or_refused(patient: Web, gate: Gate) -> None:
    """Whoever finds the queue full is refused while all others run or wait."""
    begun = await keep_busy(patient, gate)
    answers = asyncio.as_completed([ask(patient, "/") for _ in range(500 - THREADS)])
    refused = [await next(answers) for _ in range(500 - ADMITTED)]
    gate.open()
    served = [await answer for answer in (*begun, *answers)]

    assert {answer.status for answer in refused} == {503}
    assert all(b"retry-after: 1" in answer.head.lower() for answer in refused)
    assert all(answer.body.startswith(b'{"code":50310000,') for answer in refused)
    assert {answer.status for answer in served} == {200}
    assert max(int(answer.body) for answer in served) == THREADS
    assert patient.ask("/").status == 200


async def test_who_waits_for_a_second_is_refused_while_every_thread_is_busy(
    web: Web, gate: Gate
) -> None:
    begun = await keep_busy(web, gate)
    refused = await asyncio.gather(*(ask(web, "/") for _ in range(THREADS)))
    gate.open()

    assert {answer.status for answer in refused} == {503}
    assert all(0.9 < answer.seconds < 10 for answer in refused)
    assert {(await answer).status for answer in begun} == {200}


def test_a_query_of_a_thousand_symbols_is_let_in(web: Web) -> None:
    symbols = ",".join(f"SYM{number:03d}" for number in range(1000))
    assert web.ask(f"/v2/stocks/quotes/latest?symbols={symbols}").status == 200


def test_clients_that_say_nothing_hold_no_thread(web: Web) -> None:
    silent = [web.connect() for _ in range(4 * THREADS)]
    assert web.ask("/").status == 200  # who waits for a thread for a second is refused
    for client in silent:
        client.close()


def test_a_client_that_does_not_close_holds_up_nobody(web: Web) -> None:
    """Gunicorn's own worker would answer the next request two seconds later, per such client."""
    open_still = [web.connect() for _ in range(10)]
    begun = time.monotonic()
    for client in open_still:
        client.sendall(request("/", "Connection: close"))
        assert answer_of(client).status == 200  # and the socket stays open on this side
    assert web.ask("/").status == 200
    assert time.monotonic() - begun < len(open_still) * LINGER_SECONDS_MAX / 2
    for client in open_still:
        client.close()


def test_a_refused_client_reads_its_answer_whatever_it_was_sending(web: Web, gate: Gate) -> None:
    """A reset would take the 503 with it: unread input must not become one."""
    busy = fill(web, gate)
    with web.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n")
        client.sendall(b"x" * 200_000)
        assert answer_of(client).status == 503
    gate.open()
    for client in busy:
        assert answer_of(client).status in (200, 503)
        client.close()


def test_a_stop_finishes_what_was_begun(gate: Gate) -> None:
    with running() as web:
        with web.connect() as client:
            client.sendall(request(gate.path, "Connection: close"))
            gate.wait_for(1)
            web.process.send_signal(signal.SIGTERM)
            eventually(lambda: is_refused(web), "the stop")
            gate.open()
            assert answer_of(client).status == 200
        assert web.process.wait(PATIENCE_SECONDS) == 0


def test_a_worker_without_its_master_gives_up_the_port_though_clients_go_on_asking() -> None:
    """Or the next master could not listen, and who connects would wait for nobody."""
    with running() as web, web.connect() as client:
        web.process.kill()

        def is_given_up() -> bool:
            with contextlib.suppress(OSError):
                client.sendall(request("/"))
                client.recv(4096)
            return is_refused(web)

        eventually(is_given_up, "the port")


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
