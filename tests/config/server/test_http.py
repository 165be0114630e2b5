"""HTTP through the WSGI pool, on real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import time
from typing import Any

import pytest

from tests.config.server.conftest import Floor
from tests.config.server.floor import WAIT_SECONDS_MAX
from tests.config.server.gate import Gate
from tests.waiting import PATIENCE_SECONDS, eventually


def ask(floor: Floor, method: str = "GET", path: str = "/", **kwargs: Any) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", floor.port, timeout=PATIENCE_SECONDS)
    connection.request(method, path, **kwargs)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def raw(floor: Floor, request: bytes) -> bytes:
    """Everything the server says to these bytes until it closes."""
    with socket.create_connection(("127.0.0.1", floor.port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(request)
        parts = []
        while part := client.recv(65536):
            parts.append(part)
        return b"".join(parts)


def test_a_request_arrives_whole(floor):
    response, body = ask(
        floor, "POST", "/a%20b/%C3%A9?x=1&y=%20", body="hello", headers={"X-Own": "z"}
    )

    seen = json.loads(body)
    assert response.status == 200
    assert seen["REQUEST_METHOD"] == "POST"
    assert seen["PATH_INFO"].encode("latin-1").decode() == "/a b/é"
    assert seen["QUERY_STRING"] == "x=1&y=%20"
    assert (seen["body"], seen["CONTENT_LENGTH"]) == ("hello", "5")
    assert seen["HTTP_X_OWN"] == "z"


def test_nobody_can_write_their_own_address_or_mount_point(floor):
    headers = {"X-Forwarded-For": "6.6.6.6", "Daphne-Root-Path": "/evil", "X_Own": "underscore"}

    seen = json.loads(ask(floor, headers=headers)[1])

    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert seen["SCRIPT_NAME"] == ""
    assert "HTTP_X_OWN" not in seen


def test_headers_stand_once_and_length_is_right(floor):
    response, body = ask(floor)

    names = [name.lower() for name, _ in response.getheaders()]
    assert len(names) == len(set(names))
    assert response.headers["Content-Length"] == str(len(body))
    assert "server" not in names


def test_head_has_the_length_and_no_body(floor):
    answer = raw(floor, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-length: " in head.lower()
    assert b"transfer-encoding" not in head.lower()
    assert body == b""


def test_no_content_has_no_body_and_no_length(floor):
    response, body = ask(floor, path="/empty")

    assert (response.status, body) == (204, b"")
    assert response.headers["Content-Length"] is None


def test_a_failure_of_the_application_is_500_in_our_form(floor):
    response, body = ask(floor, path="/broken")

    assert response.status == 500
    assert json.loads(body) == {"code": 50010000, "message": "internal server error"}


def test_announced_oversize_is_refused_before_it_is_sent(floor):
    started = time.monotonic()
    answer = raw(
        floor,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n",
    )

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 41310000
    assert time.monotonic() - started < 5


def test_oversize_that_grows_in_chunks_is_refused(floor):
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"

    answer = raw(
        floor,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunk * 100
        + b"0\r\n\r\n",
    )

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_chunked_body_within_the_limit_is_plain_to_django(floor):
    response, body = ask(floor, "POST", body=iter([b"one ", b"two"]), encode_chunked=True)

    seen = json.loads(body)
    assert response.status == 200
    assert (seen["body"], seen["CONTENT_LENGTH"]) == ("one two", "7")
    assert "HTTP_TRANSFER_ENCODING" not in seen


@pytest.fixture
def patient(monkeypatch):
    monkeypatch.setenv("WAIT_SECONDS", "60")


@pytest.fixture
def send(floor):
    """Asks for a path and does not wait for the answer; the connection is open until the end."""
    with contextlib.ExitStack() as stack:

        def send(path: str) -> http.client.HTTPConnection:
            client = http.client.HTTPConnection("127.0.0.1", floor.port, timeout=PATIENCE_SECONDS)
            stack.callback(client.close)
            client.request("GET", path)
            return client

        yield send


def answered(clients: list[http.client.HTTPConnection], timeout: float = 0) -> list[Any]:
    """Those of them that have something to read."""
    ready, _, _ = select.select([client.sock for client in clients], [], [], timeout)
    return [client for client in clients if client.sock in ready]


def wait_in_vain(send: Any, gate: Gate, path: str) -> list[http.client.HTTPConnection]:
    """Two requests that wait for the two threads, which are busy until the gate opens.

    A third finds no room: by then the two have come.
    """
    for _ in range(2):
        send(gate.path)
    gate.wait_for(2)
    clients = [send(path) for _ in range(3)]
    refused = answered(clients, PATIENCE_SECONDS)
    assert [client.getresponse().status for client in refused] == [503]
    return [client for client in clients if client not in refused]


def test_requests_beyond_the_queue_are_told_to_come_back(patient, send, gate):
    clients = [send(gate.path) for _ in range(12)]
    eventually(lambda: len(answered(clients)) == 8, "those that find no room")
    gate.open()

    answers = [client.getresponse() for client in clients]
    assert sorted(each.status for each in answers) == [200] * 4 + [503] * 8  # two run, two wait
    for refused in (each for each in answers if each.status == 503):
        assert refused.headers["Retry-After"] == "1"
        assert json.loads(refused.read())["code"] == 50310000


def test_a_request_that_waited_too_long_is_not_begun(send, gate):
    late = wait_in_vain(send, gate, "/broken")
    time.sleep(WAIT_SECONDS_MAX)
    gate.open()

    assert [client.getresponse().status for client in late] == [503, 503]


def test_a_request_whose_client_left_is_not_begun(patient, floor, send, gate):
    for client in wait_in_vain(send, gate, "/broken"):
        client.close()
    assert [floor.next_line() for _ in range(2)] == ["left /broken\n"] * 2
    gate.open()

    assert ask(floor)[0].status == 200  # the thread that would have run it is free and well
    floor.ask_to_stop()
    assert "broken on purpose" not in floor.output()[1]


def test_a_stop_finishes_what_runs(floor, send, gate):
    client = send(gate.path)
    gate.wait_for(1)
    floor.ask_to_stop()
    assert [floor.next_line() for _ in range(2)] == ["told\n", "draining\n"]
    gate.open()

    assert client.getresponse().status == 200
    assert floor.output()[0] == "clean exit\n"
    assert floor.process.returncode == 0
