"""HTTP through the WSGI pool, on real sockets."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from typing import Any

from tests.config.server.conftest import Floor


def ask(floor: Floor, method: str = "GET", path: str = "/", **kwargs: Any) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", floor.port, timeout=10)
    connection.request(method, path, **kwargs)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def raw(floor: Floor, request: bytes) -> bytes:
    """Everything the server says to these bytes until it closes."""
    with socket.create_connection(("127.0.0.1", floor.port), timeout=10) as client:
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


def test_requests_beyond_the_queue_are_told_to_come_back(floor):
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(floor, path="/slow?0.5")))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    statuses = sorted(response.status for response, _ in answers)
    assert statuses == [200] * 4 + [503] * 8  # two threads, two may wait
    refused = [pair for pair in answers if pair[0].status == 503]
    for response, body in refused:
        assert response.headers["Retry-After"] == "1"
        assert json.loads(body)["code"] == 50310000


def test_a_request_that_waited_too_long_is_not_begun(floor):
    blockers = [threading.Thread(target=ask, args=(floor, "GET", "/slow?1.5")) for _ in range(2)]
    for thread in blockers:
        thread.start()
    time.sleep(0.2)

    response, _ = ask(floor)

    assert response.status == 503
    for thread in blockers:
        thread.join()


def test_a_request_whose_client_left_is_not_begun(floor):
    blockers = [threading.Thread(target=ask, args=(floor, "GET", "/slow?0.6")) for _ in range(2)]
    for thread in blockers:
        thread.start()
    time.sleep(0.2)
    with socket.create_connection(("127.0.0.1", floor.port)) as client:
        client.sendall(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
    for thread in blockers:
        thread.join()

    assert ask(floor)[0].status == 200  # the thread that would have run it is free and well
    floor.ask_to_stop()
    assert "broken on purpose" not in floor.output()[1]


def test_a_stop_finishes_what_runs(floor):
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(ask(floor, path="/slow?1")))
    thread.start()
    time.sleep(0.3)

    floor.ask_to_stop()
    thread.join()
    printed, _ = floor.output()

    assert answers[0][0].status == 200
    assert printed.endswith("clean exit\n")
    assert floor.process.returncode == 0
