"""One message to all who want it: encoded once per codec, one write per socket and batch.

The cost of a stream is in `Fanout.offer`: everything else happens per batch or per socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from quotes.streaming.audience import EVERYTHING, Audience
from quotes.streaming.codec import Codec
from quotes.streaming.line import Line
from quotes.streaming.socket import Socket

log = logging.getLogger(__name__)

RELEASE_SECONDS = 0.02  # how often slow readers are looked at
BROKEN_CLOSE = 4500


class Fanout:
    """Offers messages to audiences, then flushes what each socket got."""

    def __init__(self) -> None:
        self._touched: list[Line] = []
        self._holding: set[Socket] = set()
        self._releasing: asyncio.Task[None] | None = None

    def offer(
        self,
        audience: Audience,
        symbol: str,
        encode: Callable[..., bytes],
        *message: Any,
        quote_of: str | None = None,
    ) -> None:
        """Give `encode(codec, *message)` to everyone in the audience; `flush` sends it.

        A message that is the `quote_of` a symbol is replaced by a newer one if its reader is slow.
        """
        touch = self._touched.append
        for frame, lines in _encoded(audience, symbol, encode, message):
            for line in lines:
                if line.holding:
                    line.socket.hold(frame, quote_of)
                    continue
                parts = line.parts
                if not parts:
                    touch(line)
                parts.append(frame)

    def flush(self) -> None:
        """Write to each socket what was offered to it."""
        touched, self._touched = self._touched, []
        for line in touched:
            parts = line.parts
            if parts:
                line.sent += len(parts)
                frames = b"".join(parts)  # of one it makes no copy
                parts.clear()
                try:
                    if backlog := line.frames.write(frames):
                        self._note_backlog(line, backlog)
                except Exception:
                    self._break(line)

    def send(
        self,
        audience: Audience,
        symbol: str,
        encode: Callable[..., bytes],
        *message: Any,
        quote_of: str | None = None,
    ) -> None:
        """As `offer` and `flush` of a message that is alone."""
        for frame, lines in _encoded(audience, symbol, encode, message):
            for line in lines:
                if line.holding:
                    line.socket.hold(frame, quote_of)
                    continue
                line.sent += 1
                try:
                    if backlog := line.frames.write(frame):
                        self._note_backlog(line, backlog)
                except Exception:
                    self._break(line)

    def say(self, socket: Socket, *frames: bytes, newest_of: str | None = None) -> None:
        """Send frames to one socket, after all it was sent before.

        To a slow reader, the `newest_of` something takes the place of one that waits.
        """
        socket.say(*frames, newest_of=newest_of)
        self.watch(socket)

    def watch(self, socket: Socket) -> None:
        """Look after a socket if it holds."""
        if socket.holding and not socket.closed:
            self._holding.add(socket)
            if self._releasing is None:
                self._releasing = asyncio.create_task(self._release_on())

    def forget(self, socket: Socket) -> None:
        self._holding.discard(socket)

    def stop(self) -> None:
        if self._releasing is not None:
            self._releasing.cancel()
            self._releasing = None

    def _note_backlog(self, line: Line, backlog: int) -> None:
        line.socket.note_backlog(backlog)
        self.watch(line.socket)

    def _break(self, line: Line) -> None:
        log.exception("a socket could not be written to")
        line.socket.close(BROKEN_CLOSE)

    async def _release_on(self) -> None:
        while self._holding:
            await asyncio.sleep(RELEASE_SECONDS)
            for socket in tuple(self._holding):
                if socket.release():
                    self._holding.discard(socket)
        self._releasing = None


def _encoded(
    audience: Audience, symbol: str, encode: Callable[..., bytes], message: tuple[Any, ...]
) -> Iterator[tuple[bytes, Iterable[Line]]]:
    """The message in each codec that somebody has, and who has it."""
    frames: dict[Codec, bytes] = {}
    for groups in (audience.of.get(symbol), audience.of.get(EVERYTHING)):
        if groups is None:
            continue
        for codec, group in groups.items():
            frame = frames.get(codec)
            if frame is None:
                frame = frames[codec] = encode(codec, *message)
            yield frame, group.lines
