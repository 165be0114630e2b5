"""Prebuilt WebSocket frames, handed to the kernel without a detour: `openbell.frames`.

The hub frames a tick once and writes the same bytes to every socket. This ASGI extension stands
in a socket's scope under `scope["extensions"]["openbell.frames"]`. All of it is for the event
loop's thread; before accept and after close it writes nothing.

A frame is finished once begun: what the kernel does not take is queued on the transport, and as
long as anything is queued there, all that follows queues behind it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import tcp

EXTENSION = "openbell.frames"
OPEN = WebSocketProtocol.STATE_OPEN


class Connection(Protocol):
    """What frames need of the WebSocket that they are of, in Daphne's words."""

    transport: Any  # None before there is one
    state: int
    send_queue: Any  # frames that autobahn itself has still to write


class Frames:
    """Writes frames to one socket and says how far behind its reader is.

    While the way to the kernel is known to be clear nothing is asked before a write: most of what a
    stream costs is done there, once per socket and batch. Whoever else writes to the connection, or
    ends it, calls `give_way`.
    """

    __slots__ = ("_protocol", "_way")

    def __init__(self, protocol: Connection) -> None:
        self._protocol = protocol
        self._way: Way = OwnWay()

    def lend(self, way: Way) -> None:
        """Keep `way.send` the shortest way for these frames, from now on.

        It is the kernel's own `send` while nothing is queued before it, and else one that takes
        nothing. Whoever calls it gives the bytes that it did not take, or all if it raised an
        OSError, to `write`. Nothing between a batch and the kernel is cheaper.
        """
        self._way.send, way.send = take_nothing, self._way.send
        self._way = way

    def write(self, frames: bytes) -> int:
        """Send whole frames, one or many; how many bytes the kernel has not taken yet."""
        send = self._way.send
        if send is take_nothing:
            return self._write_behind(frames)
        try:
            taken = send(frames)
        except (BlockingIOError, InterruptedError):
            taken = 0
        except OSError:
            self.abort()  # the peer is gone; Twisted reports the loss
            return 0
        if taken == len(frames):
            return 0
        self.give_way()
        self._protocol.transport.write(frames[taken:])
        return len(frames) - taken

    def give_way(self) -> None:
        """Look before the next write whether something else is queued, or all is over."""
        self._way.send = take_nothing

    def backlog(self) -> int:
        """Bytes written to this socket that the kernel has not taken yet."""
        return look_inside(self._protocol.transport)[1]

    def abort(self) -> None:
        """Drop the connection with all that waits in it."""
        self.give_way()
        if self._protocol.transport is not None:
            self._protocol.transport.abortConnection()

    def _write_behind(self, frames: bytes) -> int:
        """Write after what may be queued; where nothing is, the way is clear from now on."""
        protocol = self._protocol
        if protocol.state != OPEN:
            return 0
        kernel, queued = look_inside(protocol.transport)
        if kernel is not None and not queued and not protocol.send_queue:
            self._way.send = kernel.send
            return self.write(frames)
        protocol.transport.write(frames)
        return queued + len(frames)


class Way(Protocol):
    """Where to find the shortest way; see `Frames.lend`."""

    send: Callable[[bytes], int]


class OwnWay:
    """That of frames which nobody asked for it."""

    __slots__ = ("send",)

    def __init__(self) -> None:
        self.send: Callable[[bytes], int] = take_nothing


def take_nothing(frames: bytes) -> int:
    """A `send` where the way is not known to be clear."""
    return 0


def look_inside(transport: Any) -> tuple[socket.socket | None, int]:
    """The kernel socket, where writing to it directly is right, and the bytes Twisted has queued.

    The one place that knows Twisted's private names. Only exactly its plain TCP transport will do:
    a TLS transport hands out the raw socket too, and bytes written there would bypass the cipher.
    """
    if type(transport) not in _PLAIN_TCP:
        return None, getattr(transport, "_tempDataLen", 0)
    queued = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    writable = transport.connected and not transport.disconnecting and not transport.TLS
    return (transport.socket if writable else None), queued


def let_go(transport: Any) -> None:
    """Drop what waited on a transport that is lost: the garbage collector may come for it late."""
    if type(transport) in _PLAIN_TCP:
        transport.dataBuffer, transport.offset = b"", 0
        transport._tempDataBuffer, transport._tempDataLen = [], 0


_PLAIN_TCP = frozenset({tcp.Server})
