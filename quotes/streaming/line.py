"""What the hub touches of a socket for every message, apart from the rest of it.

A connection is some 300 objects on a dozen pages of memory. To walk over the sockets that want a
tick costs more in waiting for memory than in instructions, unless what is walked over lies close
together: lines are made in blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from quotes.streaming.frames import Frames, take_nothing

BLOCK = 512

_spare: list[Line] = []


class Reader(Protocol):
    """The socket at the end of a line: what is asked of it where frames do not leave at once."""

    closed: bool

    @property
    def holding(self) -> bool:
        """Whether frames wait for it, because it is slow."""

    def hold(self, frame: bytes, quote_of: str | None = None) -> None:
        """Keep a frame until it has caught up."""

    def note_backlog(self, backlog: int) -> None:
        """Hear how many bytes were written to it and have not left."""

    def release(self) -> bool:
        """Write some of what waits; whether it has caught up."""

    def close(self, code: int) -> None:
        """Say nothing more, and close."""


class Line:
    """The frames that are about to be written to one socket, and where they go.

    `send` is the shortest way there; what it does not take is for `frames.write`. `sent` counts
    every message that an honest client was sent, for its heartbeats; a replaced quote was not.
    While the socket is `holding` nothing may be put into `parts`: it is the socket's to hold.
    """

    __slots__ = ("frames", "holding", "parts", "send", "sent", "socket")

    frames: Frames
    socket: Reader

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.holding = False
        self.sent = 0
        self.send: Callable[[bytes], int] = take_nothing


def new_line(socket: Reader, frames: Frames) -> Line:
    """A line for one socket, out of a block."""
    try:
        line = _spare.pop()
    except IndexError:
        block = [Line() for _ in range(BLOCK)]
        line = block.pop()
        _spare.extend(block)
    line.socket, line.frames = socket, frames
    frames.lend(line)
    return line
