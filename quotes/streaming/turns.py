"""When whoever reads a mailbox without end lets the event loop do what else there is."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from quotes.streaming.bus import Subscription

# After so long with the loop to itself: logins and pings go on, and Redis is read.
TURN_SECONDS = 0.002
GATHER_TURNS_MAX = 4


class Turns:
    """The turns of one reader, by the clock."""

    def __init__(self, mail: Subscription) -> None:
        self._mail = mail
        self._given_at = 0.0

    async def next(self, timeout: float) -> list[tuple[str, Any]]:
        """All that arrived; where that had to be waited for, the loop has had its turn."""
        is_idle = not self._mail.waiting
        arrived = await self._mail.get_many(timeout)
        if is_idle:
            self._given_at = time.monotonic()
        return arrived

    async def give(self) -> None:
        """Let the loop have a turn, if it has been long."""
        if self._are_due():
            await asyncio.sleep(0)
            self._given_at = time.monotonic()

    async def gather(self) -> None:
        """If it has been long, let all that came meanwhile be read, to go out together.

        The loop resumes us before it reads, so what it reads in one turn is seen in the next.
        """
        if not self._are_due():
            return
        await asyncio.sleep(0)
        for _ in range(GATHER_TURNS_MAX):
            waiting = self._mail.waiting
            await asyncio.sleep(0)
            if self._mail.waiting == waiting:
                break
        self._given_at = time.monotonic()

    def _are_due(self) -> bool:
        return time.monotonic() - self._given_at >= TURN_SECONDS
