"""Where a socket's frames go, and how its connection ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from quotes.streaming.codec import TEXT, unframed

log = logging.getLogger(__name__)

# For a closing socket to take its last frames.
CLOSING_SECONDS_MAX = 5.0
_CLOSING_POLL_SECONDS = 0.05
# For one whose credential no longer holds, whatever it reads: with the sweep that finds it
# (`watch.SWEEP_SECONDS`) within two seconds.
REVOKED_SECONDS_MAX = 0.5


class Way(Protocol):
    """Whose `send` is the shortest way to a connection."""

    send: Callable[[bytes], int]


class Frames(Protocol):
    """Where prebuilt frames go: `scope["extensions"]["openbell.frames"]`, or `SentFrames`."""

    def write(self, frames: bytes) -> int:
        """Send these bytes, whole frames, after all that were written before; the backlog then."""

    def lend(self, way: Way) -> None:
        """Keep `way.send` the shortest way from now on: how many bytes left at once. Those that
        it did not take, or all where it raises an OSError, are to be written."""

    def backlog(self) -> int:
        """How many written bytes have not left yet."""

    def abort(self) -> None:
        """Drop the connection, whatever waits."""


def take_nothing(frames: bytes) -> int:
    """The shortest way while there is none."""
    return 0


class SentFrames:
    """Frames over plain ASGI `send`, for a server without the extension."""

    def __init__(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self._send = send
        self._waiting: deque[bytes] = deque()  # bounded by who writes: see `socket`
        self._backlog = 0
        self._written = asyncio.Event()
        self._sending = asyncio.create_task(self._send_on())

    def write(self, frames: bytes) -> int:
        self._waiting.append(frames)
        self._backlog += len(frames)
        self._written.set()
        return self._backlog

    def lend(self, way: Way) -> None:
        way.send = take_nothing

    def backlog(self) -> int:
        return self._backlog

    def abort(self) -> None:
        self._sending.cancel()
        self._waiting.clear()

    async def _send_on(self) -> None:
        try:
            while True:
                await self._written.wait()
                self._written.clear()
                while self._waiting:
                    await self._send_each(self._waiting.popleft())
        except Exception:  # the client has gone; the consumer hears of it by itself
            log.debug("a socket took no more", exc_info=True)

    async def _send_each(self, frames: bytes) -> None:
        for opcode, payload in unframed(frames):
            content = {"text": payload.decode()} if opcode == TEXT else {"bytes": payload}
            await self._send({"type": "websocket.send", **content})
        self._backlog -= len(frames)


async def hang_up(
    frames: Frames,
    send: Callable[[dict[str, Any]], Awaitable[None]],
    code: int,
    seconds: float | None = None,
) -> None:
    """Close a socket once it took what was written; drop it when it does not take it in time."""
    seconds = CLOSING_SECONDS_MAX if seconds is None else seconds
    deadline = asyncio.get_running_loop().time() + seconds
    while frames.backlog() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(_CLOSING_POLL_SECONDS)
    if frames.backlog():
        frames.abort()
    with contextlib.suppress(Exception):  # the connection may have gone in the meantime
        async with asyncio.timeout(seconds):
            await send({"type": "websocket.close", "code": code})


async def shut_out(
    frames: Frames, send: Callable[[dict[str, Any]], Awaitable[None]], code: int
) -> None:
    """As `hang_up`, and drop the connection where the client does not close its end at once."""
    ends_at = asyncio.get_running_loop().time() + REVOKED_SECONDS_MAX
    await hang_up(frames, send, code, REVOKED_SECONDS_MAX)
    await asyncio.sleep(ends_at - asyncio.get_running_loop().time())
    frames.abort()
