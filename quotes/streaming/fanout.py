"""One message to all who want it: encoded once per codec, one write per socket and batch.

The cost of a stream is in `Fanout.offer`: everything else happens per batch or per socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from quotes.streaming.audience import EVERYTHING, Audience
from quotes.streaming.codec import Codec
from quotes.streaming.line import Line, Reader
from quotes.streaming.socket import Socket

log = logging.getLogger(__name__)

RELEASE_SECONDS = 0.02  # how often slow readers are looked at
BROKEN_CLOSE = 4500


class Fanout:
    """Offers messages to audiences, then flushes what each socket got."""

    def __init__(self) -> None:
        self._touched: list[Line] = []
        self._counted: list[Line] = []  # those of them who are told how many messages they got
        self._holding: set[Reader] = set()
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
        for codec, frame, lines in _encoded(audience, symbol, encode, message):
            touch = (self._counted if codec.honest else self._touched).append
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
        counted, self._counted = self._counted, []
        touched, self._touched = self._touched, []
        for line in counted:
            line.sent += len(line.parts)
        for line in chain(counted, touched):
            parts = line.parts
            frames = b"".join(parts)  # of one it makes no copy
            parts.clear()
            try:
                taken = line.send(frames)
            except OSError:
                taken = 0
            if taken != len(frames):
                self._write(line, frames[taken:])

    def send(
        self,
        audience: Audience,
        symbol: str,
        encode: Callable[..., bytes],
        *message: Any,
        quote_of: str | None = None,
    ) -> None:
        """As `offer` and `flush` of a message that is alone."""
        for codec, frame, lines in _encoded(audience, symbol, encode, message):
            for line in lines:
                if line.holding:
                    line.socket.hold(frame, quote_of)
                    continue
                line.sent += codec.honest
                try:
                    taken = line.send(frame)
                except OSError:
                    taken = 0
                if taken != len(frame):
                    self._write(line, frame[taken:])

    def say(self, socket: Socket, *frames: bytes, newest_of: str | None = None) -> None:
        """Send frames to one socket, after all it was sent before.

        To a slow reader, the `newest_of` something takes the place of one that waits.
        """
        try:
            socket.say(*frames, newest_of=newest_of)
        except Exception:
            self._break(socket)
        self.watch(socket)

    def watch(self, socket: Reader) -> None:
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

    def _write(self, line: Line, frames: bytes) -> None:
        """Write what the shortest way did not take; look after its reader if much is left."""
        try:
            if backlog := line.frames.write(frames):
                line.socket.note_backlog(backlog)
                self.watch(line.socket)
        except Exception:
            self._break(line.socket)

    def _break(self, socket: Reader) -> None:
        """One socket that cannot be written to is no reason to stop for the others."""
        log.exception("a socket could not be written to")
        socket.close(BROKEN_CLOSE)

    async def _release_on(self) -> None:
        while self._holding:
            await asyncio.sleep(RELEASE_SECONDS)
            for socket in tuple(self._holding):
                if self._has_caught_up(socket):
                    self._holding.discard(socket)
        self._releasing = None

    def _has_caught_up(self, socket: Reader) -> bool:
        try:
            return socket.release()
        except Exception:
            self._break(socket)
            return True


def _encoded(
    audience: Audience, symbol: str, encode: Callable[..., bytes], message: tuple[Any, ...]
) -> Iterator[tuple[Codec, bytes, Iterable[Line]]]:
    """Each codec that somebody has, the message in it, and who has it."""
    frames: dict[Codec, bytes] = {}
    for groups in (audience.of.get(symbol), audience.of.get(EVERYTHING)):
        if groups is None:
            continue
        for codec, group in groups.items():
            frame = frames.get(codec)
            if frame is None:
                frame = frames[codec] = encode(codec, *message)
            yield codec, frame, group.lines
