"""What the hub touches of a socket for every message, apart from the rest of it.

A connection is some 300 objects on a dozen pages of memory. To walk over the sockets that want a
tick costs more in waiting for memory than in instructions, unless what is walked over lies close
together: lines are made in blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quotes.streaming.frames import Frames, take_nothing

if TYPE_CHECKING:
    from quotes.streaming.socket import Socket

BLOCK = 512

_spare: list[Line] = []


class Line:
    """The frames that are about to be written to one socket, and where they go.

    `send` is the shortest way there; what it does not take is for `frames.write`. `sent` counts
    every message that an honest client was sent, for its heartbeats; a replaced quote was not.
    While the socket is `holding` nothing may be put into `parts`: it is the socket's to hold.
    """

    __slots__ = ("frames", "holding", "parts", "send", "sent", "socket")

    frames: Frames
    socket: Socket

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.holding = False
        self.sent = 0
        self.send: Callable[[bytes], int] = take_nothing


def new_line(socket: Socket, frames: Frames) -> Line:
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
