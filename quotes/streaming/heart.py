"""When the honest sockets of a hub are told heartbeats."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection

from quotes.streaming.socket import Socket

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 2.0
# Who has just come shows nothing as live before a first heartbeat: until one of all, newcomers are
# told so many times as often.
GREETINGS = 4


class Heart:
    """Beats for all, and in between for those who came since."""

    def __init__(
        self,
        beat: Callable[[], Awaitable[None]],
        greet: Callable[[Collection[Socket]], Awaitable[None]],
    ) -> None:
        self._beat = beat
        self._greet = greet
        self._newcomers: set[Socket] = set()

    def meet(self, socket: Socket) -> None:
        if socket.codec.honest:
            self._newcomers.add(socket)

    def forget(self, socket: Socket) -> None:
        """Twice is harmless."""
        self._newcomers.discard(socket)

    async def beat_on(self) -> None:
        """Until cancelled, whatever fails."""
        due_at = time.monotonic() + HEARTBEAT_SECONDS
        while True:
            left = max(due_at - time.monotonic(), 0.0)
            await asyncio.sleep(min(left, HEARTBEAT_SECONDS / GREETINGS))
            try:
                if time.monotonic() >= due_at:
                    due_at = time.monotonic() + HEARTBEAT_SECONDS
                    self._newcomers = {one for one in self._newcomers if one.credential is None}
                    await self._beat()
                elif self._newcomers:
                    await self._greet(tuple(self._newcomers))
            except Exception:
                log.exception("a heartbeat failed")
