"""Twisted's private names, and when writing past it is right."""

from __future__ import annotations

import socket
from typing import Any

import daphne.server  # noqa: F401 - installs the reactor
import pytest
from twisted.internet import reactor, tcp
from twisted.protocols.policies import ProtocolWrapper

from config.server.frames import look_inside


@pytest.fixture
def transport() -> Any:
    """A connected transport of Twisted's, as an accepted socket has it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    ours.setblocking(False)
    made = tcp.Server(ours, None, ("127.0.0.1", 1), None, 0, reactor)
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
