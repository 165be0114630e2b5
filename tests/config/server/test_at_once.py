"""What the worker's main thread answers from memory, and what it leaves to a thread."""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import struct
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("gunicorn", reason="NO GUNICORN: the production set is not installed")

from gunicorn.config import Config

from config.server.at_once import AtOnce
from config.server.gunicorn_worker import Connection, Line, ThreadWorker
from tests.config.server.gate import Gate
from tests.config.server.remembering import from_memory
from tests.config.server.web import THREADS, Web, answer_of, fill, next_answer, request, running
from tests.waiting import PATIENCE_SECONDS, eventually

APPLICATION = "tests.config.server.remembering:application"
MEMORY = request("/memory?6")
FROM_MEMORY = b"mmmmmm"
ORDINARY = request("/")
LARGE = 16 * 1024 * 1024  # more than both ends of a connection buffer


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with running(APPLICATION) as web:
        yield web


def test_both_ways_frame_an_answer_alike(web: Web) -> None:
    with web.connect() as client:
        client.sendall(MEMORY)
        short = next_answer(client)
        client.sendall(ORDINARY)
        ordinary = next_answer(client)

    def lines(head: bytes) -> list[bytes]:
        return re.sub(rb"\d\d:\d\d:\d\d|Length: \d+", b"", head).split(b"\r\n")

    assert (short.status, short.body) == (200, FROM_MEMORY)
    assert ordinary.body != FROM_MEMORY
    assert lines(short.head) == lines(ordinary.head)
    assert len(lines(short.head)) == 6


def test_with_every_thread_busy_and_the_queue_full_memory_still_answers(
    web: Web, gate: Gate
) -> None:
    with web.connect() as kept:
        kept.sendall(ORDINARY)
        next_answer(kept)
        busy = fill(web, gate)
        for _ in range(50):
            kept.sendall(MEMORY)
            assert next_answer(kept).body == FROM_MEMORY
        with web.connect() as fresh:
            fresh.sendall(MEMORY)
            assert next_answer(fresh).body == FROM_MEMORY
        assert web.ask("/").status == 503
    gate.open()
    statuses = []
    for client in busy:
        statuses.append(answer_of(client).status)
        client.close()
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= THREADS


@pytest.mark.parametrize("query", ["wait", "break"])
def test_what_memory_does_not_answer_takes_the_ordinary_way(web: Web, query: str) -> None:
    with web.connect() as client:
        for _ in range(2):
            client.sendall(request(f"/memory?{query}"))
            assert next_answer(client).body.isdigit()
            client.sendall(MEMORY)
            assert next_answer(client).body == FROM_MEMORY


@pytest.mark.parametrize("at", [1, 20, len(MEMORY) - 1])
def test_a_request_in_two_parts_is_answered(web: Web, at: int) -> None:
    with web.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            client.sendall(MEMORY[:at])
            time.sleep(0.05)
            client.sendall(MEMORY[at:])
            assert next_answer(client).body.isdigit()
        client.sendall(MEMORY)
        assert next_answer(client).body == FROM_MEMORY


def test_requests_sent_together_are_answered_in_their_order(web: Web) -> None:
    with web.connect() as client:
        client.sendall(request("/first") + MEMORY + request("/memory?2"))
        answers = [next_answer(client) for _ in range(3)]
        assert all(answer.status == 200 for answer in answers)
        client.sendall(MEMORY)
        assert next_answer(client).body == FROM_MEMORY


@pytest.mark.parametrize("said", [MEMORY, ORDINARY, request("/", "Connection: close")])
def test_who_has_nothing_more_to_say_still_hears_the_answer(web: Web, said: bytes) -> None:
    with web.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)  # sends all of it and the end together
        assert answer_of(client).status == 200


def test_a_body_behind_a_read_ahead_head_arrives(web: Web) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n"
    with web.connect() as client:
        client.sendall(head + b"x" * 20_000 + MEMORY)
        assert next_answer(client).body.isdigit()
        assert next_answer(client).status == 200


def test_connection_close_is_respected(web: Web) -> None:
    answer = web.ask("/memory?6")
    assert answer.status == 200
    assert b"Connection: close" in answer.head


def test_a_slow_reader_holds_up_nobody_and_misses_nothing(web: Web) -> None:
    with web.connect() as slow:
        slow.sendall(request(f"/memory?{LARGE}"))
        slow.recv(1, socket.MSG_PEEK)
        slow.sendall(MEMORY)  # waits for its turn
        for _ in range(THREADS + 1):
            assert web.ask("/").status == 200
        large = next_answer(slow)
        assert large.body == b"m" * LARGE
        assert next_answer(slow).body == FROM_MEMORY


def test_a_reader_that_leaves_with_half_an_answer_harms_nobody(web: Web) -> None:
    with web.connect() as client:
        client.sendall(MEMORY)
        next_answer(client)
        sockets = web.open_files()
        for _ in range(3):
            leaving = web.connect()
            leaving.sendall(request(f"/memory?{LARGE}"))
            leaving.recv(1)
            reset_at_once = struct.pack("ii", 1, 0)
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_once)
            leaving.close()
            client.sendall(MEMORY)
            assert next_answer(client).body == FROM_MEMORY
        eventually(lambda: web.open_files() <= sockets, "its sockets to be closed")


def test_a_worker_that_stops_closes_what_it_answered_at_once() -> None:
    with running(APPLICATION) as web, web.connect() as client:
        client.sendall(MEMORY)
        assert next_answer(client).body == FROM_MEMORY
        web.process.send_signal(signal.SIGTERM)
        assert client.recv(1) == b""
        assert web.process.wait(PATIENCE_SECONDS) == 0


def test_each_answer_renews_the_deadline_of_its_connection() -> None:
    worker = ThreadWorker(1, os.getpid(), [], None, 30, Config(), None)
    worker.poller = selectors.DefaultSelector()
    worker._at_once = AtOnce({"/memory": from_memory})
    clients, connections = [], []
    for _ in range(2):
        client, ours = socket.socketpair()
        connection = Connection(worker, ours, "", "")
        connection.timeout = time.monotonic() - 1
        worker.keepalived_conns.append(connection)
        worker.poller.register(ours, selectors.EVENT_READ)
        worker.nr_conns += 1
        clients.append(client)
        connections.append(connection)
    clients[0].sendall(MEMORY)

    worker.on_client_socket_readable(connections[0], connections[0].sock)
    worker.murder_keepalived()

    assert next_answer(clients[0]).body == FROM_MEMORY
    assert clients[1].recv(1) == b""
    assert list(worker.keepalived_conns) == connections[:1]
    assert (worker.nr_conns, worker.nr) == (1, 1)
    for end in (*clients, connections[0].sock, worker.poller):
        end.close()


def test_who_leaves_a_line_from_its_middle_leaves_the_others_in_order() -> None:
    line = Line()
    first, second, third = (object() for _ in range(3))
    for connection in (first, second, third):
        line.append(connection)  # type: ignore[arg-type]
    line.remove(second)  # type: ignore[arg-type]
    line.append(second)  # type: ignore[arg-type]

    assert (len(line), line[0]) == (3, first)
    assert list(line) == [first, third, second]
    assert [line.popleft(), line.popleft(), line.popleft()] == [first, third, second]
    assert not line
