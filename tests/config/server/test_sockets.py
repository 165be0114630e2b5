"""WebSockets against the running server: order, limits and the end."""

from __future__ import annotations

import contextlib
import socket
import time
import urllib.request
from functools import partial

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from config.server.server import CLOSES_PER_SECOND
from tests.config.server.conftest import Floor
from tests.waiting import PATIENCE_SECONDS, eventually

NOTICE_SECONDS = 2.0  # long enough to come and be heard on a busy machine


def opened(floor: Floor, path: str) -> ClientConnection:
    return connect(floor.sockets_url + path, proxy=None, max_size=None, close_timeout=2)


def test_messages_come_back(floor):
    with opened(floor, "/echo") as client:
        client.send("hello")
        assert client.recv(timeout=PATIENCE_SECONDS) == "hello"


def test_a_close_carries_any_code_and_its_reason(floor):
    with opened(floor, "/echo") as client:
        client.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=PATIENCE_SECONDS)

    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "you asked for it")


def test_a_refused_handshake_is_403(floor):
    with pytest.raises(InvalidStatus) as refused:
        opened(floor, "/refuse")

    assert refused.value.response.status_code == 403


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setenv("HEAD_SECONDS", "2")


def is_dropped(client: socket.socket) -> bool:
    """Send it a byte more: whether the server has had enough."""
    client.settimeout(0.05)
    try:
        client.sendall(b"x")
        return not client.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_handshake_that_trickles_in_is_given_up(impatient, floor):
    address = ("127.0.0.1", floor.port)
    with (
        opened(floor, "/echo") as other,
        socket.create_connection(address) as first,
        socket.create_connection(address) as second,
    ):
        first.sendall(b"G")
        second.sendall(b"GET /echo HTTP/1.1\r\nX-Slow: ")
        for slow in (first, second):
            eventually(partial(is_dropped, slow), "a handshake to be given up")
        other.send("still here")
        assert other.recv(timeout=PATIENCE_SECONDS) == "still here"


def test_frames_keep_their_place_among_sends(floor):
    with opened(floor, "/shared") as client:
        for number in range(200):
            assert client.recv(timeout=PATIENCE_SECONDS) == str(number)
            for _ in range(50):
                assert client.recv(timeout=PATIENCE_SECONDS) == b"frame"


def test_our_answers_may_be_larger_than_what_clients_send(floor):
    with opened(floor, "/flood") as client:
        assert len(client.recv(timeout=PATIENCE_SECONDS)) == 1024 * 1024


def test_nothing_is_compressed_though_the_client_offers_it(floor):
    """A frame that goes to thousands is made once; compressed, it would be made for each."""
    with opened(floor, "/echo") as client:
        assert client.request is not None
        assert client.response is not None
        assert "permessage-deflate" in client.request.headers["Sec-WebSocket-Extensions"]
        assert "Sec-WebSocket-Extensions" not in client.response.headers
        client.send("in plain")
        assert client.recv(timeout=PATIENCE_SECONDS) == "in plain"


def test_a_message_too_large_is_closed_with_1009(floor):
    with opened(floor, "/echo") as client:
        client.send("x" * 64 * 1024)
        assert len(client.recv(timeout=PATIENCE_SECONDS)) == 64 * 1024
        client.send("x" * (64 * 1024 + 1))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=PATIENCE_SECONDS)

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def stalled(floor: Floor, path: str) -> socket.socket:
    """A socket that shook hands and then reads no more."""
    client = socket.create_connection(("127.0.0.1", floor.port), timeout=PATIENCE_SECONDS)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    assert client.recv(12) == b"HTTP/1.1 101"
    return client


def resident_megabytes(floor: Floor) -> float:
    with open(f"/proc/{floor.process.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@pytest.fixture
def quick_to_drop(monkeypatch):
    monkeypatch.setenv("STALL_SECONDS", "1")


@pytest.mark.skipif("not __import__('os').path.exists('/proc/self/status')", reason="reads /proc")
def test_a_reader_that_stalls_costs_no_memory_and_is_dropped(quick_to_drop, floor):
    before = resident_megabytes(floor)
    with stalled(floor, "/flood"):
        assert floor.next_line() == "ended /flood\n"
        assert resident_megabytes(floor) - before < 20  # of 200 MB that wait to be sent
        with opened(floor, "/echo") as other:
            other.send("still there")
            assert other.recv(timeout=PATIENCE_SECONDS) == "still there"
        floor.ask_to_stop()
        assert "dropped a reader" in floor.output()[1]


def test_backlog_says_what_a_stalled_reader_has_not_taken(floor):
    with stalled(floor, "/pile") as client:
        ended = b""
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(1024 * 1024):
                ended = part
        assert ended  # what the kernel had, and then the end: abort drops the rest
    floor.ask_to_stop()

    assert "backlog after" in floor.output()[0]


def kept(floor: Floor) -> int:
    """The sockets it has in memory; once asked, it collects no garbage any more."""
    asked = f"http://127.0.0.1:{floor.port}/sockets"
    with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as said:
        return int(said.read())


def wait_until_none_is_kept(floor: Floor) -> None:
    eventually(lambda: kept(floor) == 0, "every socket to be let go of")


def test_nothing_of_a_socket_stays_in_memory_until_the_garbage_is_collected(floor):
    assert kept(floor) == 0
    clients = [opened(floor, "/echo") for _ in range(5)]
    clients[0].send("close")
    readers = [stalled(floor, "/flood"), stalled(floor, "/pile")]
    assert kept(floor) > 0
    for each in [*clients, *readers]:
        each.close()

    wait_until_none_is_kept(floor)


@pytest.fixture
def quick_to_close(monkeypatch):
    monkeypatch.setenv("CLOSE_SECONDS", "0.5")


def test_a_client_that_closes_and_reads_nothing_is_dropped(quick_to_close, floor):
    with stalled(floor, "/brim") as client:
        assert floor.next_line() == "full\n"
        client.sendall(b"\x88\x82\0\0\0\0\x03\xe8")  # close 1000, masked with zeros

        wait_until_none_is_kept(floor)


def test_a_flood_waits_in_the_kernel_not_in_our_memory(floor):
    with opened(floor, "/sleepy") as client:
        for _ in range(5000):
            client.send("x" * 1000)
        client.send("end")

        assert client.recv(timeout=PATIENCE_SECONDS) == "5001"


def test_a_lost_connection_ends_its_consumer(floor):
    stalled(floor, "/echo").close()

    assert floor.next_line().startswith("disconnected")
    assert floor.next_line() == "ended /echo\n"


def test_a_stop_says_goodbye_to_every_socket(floor):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(opened(floor, "/echo")) for _ in range(20)]

        floor.ask_to_stop()
        for client in clients:
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=PATIENCE_SECONDS)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
    printed, _ = floor.output()

    assert printed.startswith("told\ndraining\n")
    assert printed.count("disconnected 1001") == 20
    assert printed.count("ended /echo") == 20
    assert printed.endswith("clean exit\n")
    assert floor.process.returncode == 0


@pytest.fixture
def noticed(monkeypatch):
    monkeypatch.setenv("NOTICE_SECONDS", str(NOTICE_SECONDS))


def test_until_the_balancer_has_noticed_everything_goes_on(noticed, floor):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(opened(floor, "/echo"))]
        started = time.monotonic()
        floor.ask_to_stop()
        assert floor.next_line() == "told\n"
        clients.append(stack.enter_context(opened(floor, "/echo")))  # it may still be sent here
        for client in clients:
            client.send("still here")
            assert client.recv(timeout=PATIENCE_SECONDS) == "still here"
        for client in clients:
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=PATIENCE_SECONDS)
            assert time.monotonic() - started > NOTICE_SECONDS
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
    printed, _ = floor.output()

    assert printed.startswith("draining\n")
    assert printed.endswith("clean exit\n")


def test_goodbyes_are_spread_over_time(floor):
    """Or whoever is sent away at once comes back at once."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(opened(floor, "/echo")) for _ in range(60)]
        begun = time.monotonic()
        floor.ask_to_stop()
        for client in clients:
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=PATIENCE_SECONDS)

    assert time.monotonic() - begun > 0.9 * (60 / CLOSES_PER_SECOND)


def test_a_stop_does_not_wait_for_the_deaf(floor):
    with stalled(floor, "/echo"):
        started = time.monotonic()
        floor.ask_to_stop()
        printed, _ = floor.output()

    assert time.monotonic() - started < 20
    assert printed.endswith("clean exit\n")
