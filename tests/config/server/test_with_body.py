"""What is posted whole and understood needs no parser; all else takes the ordinary way."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("gunicorn", reason="NO GUNICORN: the production set is not installed")

from gunicorn.config import Config

from config.server.at_once import AtOnce
from config.server.gunicorn_worker import Connection, ThreadWorker
from config.server.http import FAILED
from tests.config.server.remembering import with_body
from tests.config.server.web import Web, answer_of, next_answer, request, running

APPLICATION = "tests.config.server.remembering:application"


def post(body: bytes, *headers: str) -> bytes:
    told = ["Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(["POST /body HTTP/1.1", *told, "", ""]).encode() + body


WHOLE, OTHER = post(b"whole"), post(b"other")


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with running(APPLICATION) as web:
        yield web


def test_both_ways_frame_an_answer_alike(web: Web) -> None:
    with web.connect() as client:
        answers = []
        for said in (WHOLE, OTHER, post(b"wrong"), WHOLE):
            client.sendall(said)
            answers.append(next_answer(client))

    def lines(head: bytes) -> list[bytes]:
        return re.sub(rb"\d\d:\d\d:\d\d|Length: \d+", b"", head).split(b"\r\n")

    whole, other, wrong, again = answers
    assert (whole.status, whole.body, again.body) == (200, b"whole", b"whole")
    assert (other.status, other.body.isdigit()) == (200, True)
    assert (wrong.status, wrong.body) == (422, b"wrong")
    assert lines(whole.head) == lines(other.head)
    assert wrong.head.startswith(b"HTTP/1.1 422 Unprocessable Entity\r\n")


def test_what_breaks_is_answered_and_not_begun_again(web: Web) -> None:
    with web.connect() as client:
        client.sendall(post(b"break"))
        broken = next_answer(client)
        client.sendall(WHOLE)
        assert next_answer(client).body == b"whole"

    assert (broken.status, broken.body) == (500, FAILED.body)
    assert b"content-type: application/json" in broken.head.lower()


def test_what_breaks_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    job = AtOnce({}, {"/body": with_body}).job(post(b"break"))
    assert job is not None

    answer = job()

    assert answer is not None
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error")
    assert "POST /body failed" in caplog.text
    assert "broken on purpose" in caplog.text


@pytest.mark.parametrize("at", [1, 40, len(WHOLE) - 5, len(WHOLE) - 1])
def test_what_comes_in_two_parts_is_answered_all_the_same(web: Web, at: int) -> None:
    with web.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            client.sendall(WHOLE[:at])
            time.sleep(0.05)
            client.sendall(WHOLE[at:])
            assert next_answer(client).status == 200
        client.sendall(WHOLE)  # may be read with the end of the last body, which nobody asked for
        assert next_answer(client).status == 200
        client.sendall(WHOLE)
        assert next_answer(client).body == b"whole"


def test_requests_sent_together_are_answered_in_their_order(web: Web) -> None:
    with web.connect() as client:
        client.sendall(WHOLE + post(b"second") + request("/memory?2"))
        assert all(next_answer(client).status == 200 for _ in range(3))
        client.sendall(WHOLE)
        assert next_answer(client).body == b"whole"


def test_who_has_nothing_more_to_say_still_hears_the_answer(web: Web) -> None:
    with web.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        client.sendall(WHOLE)
        client.shutdown(socket.SHUT_WR)  # sends all of it and the end together
        assert answer_of(client).body == b"whole"


@pytest.mark.parametrize("said", [WHOLE, OTHER[:-1]])
def test_an_idle_connection_keeps_nothing_of_what_was_said(said: bytes) -> None:
    """It named a secret."""
    worker = ThreadWorker(1, os.getpid(), [], None, 30, Config(), None)
    worker._at_once = AtOnce({}, {"/body": with_body})
    client, ours = socket.socketpair()
    with client, ours:
        connection = Connection(worker, ours, "", "")
        client.sendall(said)
        assert not worker._answered(connection, worker.keepalived_conns)
        if connection.job is not None:
            assert worker.handle(connection)
            assert next_answer(client).body == b"whole"

        assert (connection.job, connection.said) == (None, b"")


def test_a_worker_that_stops_closes_the_connection_after_its_answer() -> None:
    with running(APPLICATION) as web, web.connect() as client:
        client.sendall(WHOLE)
        assert next_answer(client).body == b"whole"
        web.process.send_signal(signal.SIGTERM)
        assert client.recv(1) == b""
        assert web.process.wait(10) == 0
