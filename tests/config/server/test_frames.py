"""Twisted's private names, and when writing past it is right."""

from __future__ import annotations

import socket
from typing import Any

import daphne.server  # noqa: F401 - installs the reactor
import pytest
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor, tcp
from twisted.protocols.policies import ProtocolWrapper

from config.server.frames import OPEN, Frames, look_inside


@pytest.fixture
def transport() -> Any:
    """A connected transport of Twisted's, as an accepted socket has it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    ours.setblocking(False)
    made = tcp.Server(ours, None, ("127.0.0.1", 1), None, 0, reactor)
    made.peer = theirs
    yield made
    made.stopReading()
    made.stopWriting()
    ours.close()
    theirs.close()


def test_an_idle_plain_transport_offers_its_socket(transport):
    kernel, queued = look_inside(transport)

    assert kernel is transport.getHandle()
    assert queued == 0


def test_queued_bytes_are_counted_wherever_twisted_keeps_them(transport):
    transport.write(b"x" * 100)
    assert look_inside(transport)[1] == 100

    kernel_takes = 1 << 16
    transport.write(b"x" * 8_000_000)
    transport.doWrite()  # joins its list into the buffer, and sends a part of it

    assert 0 < look_inside(transport)[1] < 8_000_100 - kernel_takes // 2


@pytest.mark.parametrize("mark", ["disconnecting", "TLS"])
def test_a_transport_that_closes_or_enciphers_is_left_to_twisted(transport, mark):
    setattr(transport, mark, True)

    assert look_inside(transport)[0] is None


def test_a_wrapped_transport_is_left_to_twisted(transport):
    wrapped = ProtocolWrapper(None, None)
    wrapped.transport = transport

    assert look_inside(wrapped) == (None, 0)


def test_a_lost_transport_is_left_to_twisted(transport):
    transport.connected = 0

    assert look_inside(transport)[0] is None


class Protocol:
    """What `Frames` asks of the protocol of its connection."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.state = OPEN
        self.send_queue: list[Any] = []


def test_frames_queue_behind_what_others_wrote(transport):
    frames = Frames(Protocol(transport))
    assert frames.write(b"first") == 0

    transport.write(b"a ping")
    frames.give_way()

    assert frames.write(b"second") == len(b"a ping") + len(b"second")
    transport.doWrite()
    assert frames.backlog() == 0
    assert frames.write(b"third") == 0
    assert transport.peer.recv(100) == b"firsta pingsecondthird"


def test_what_the_kernel_does_not_take_stays_in_order(transport):
    frames = Frames(Protocol(transport))
    many = [bytes([number]) * 50_000 for number in range(100)]

    backlogs = [frames.write(each) for each in many]

    assert backlogs == sorted(backlogs)
    assert backlogs[0] == 0 < backlogs[-1] == frames.backlog()
    heard = b""
    while len(heard) < 5_000_000:
        heard += transport.peer.recv(1 << 20)
        if frames.backlog():
            transport.doWrite()
    assert heard == b"".join(many)


def test_nothing_is_written_after_the_end(transport):
    protocol = Protocol(transport)
    frames = Frames(protocol)
    frames.write(b"last")

    protocol.state = WebSocketProtocol.STATE_CLOSING
    frames.give_way()

    assert frames.write(b"too late") == 0
    assert frames.backlog() == 0
    assert transport.peer.recv(100) == b"last"
