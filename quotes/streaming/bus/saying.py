"""A connection to Redis that only publishes, many messages in one write.

A trip is one write, and the answer to it, read where it arrives, sends off what has gathered
meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NoReturn, Self

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from quotes.streaming.bus.link import Link
from quotes.streaming.bus.outbox import Message, Outbox


class Saying(Link, asyncio.Protocol):
    """A link that empties an outbox while it lasts.

    When it ends, what Redis has not answered goes back: nobody knows which of it arrived, and all
    of it is to be sent again.
    """

    def __init__(self, redis: Redis, outbox: Outbox) -> None:
        super().__init__(redis)
        self._outbox = outbox
        self._under_way: list[Message] = []
        self._unanswered = 0
        self._asked_at = 0.0

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._outbox.carried_by(self._go)
        self._go()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._outbox.carried_by(None)
        self._outbox.put_back(self._under_way)
        await super().__aexit__(kind, error, traceback)

    async def last(self, silent_seconds: float) -> NoReturn:
        """Wait for the end and raise it: the connection is lost, or owes an answer for so long."""
        overdue = False
        while True:
            await asyncio.wait([self._ended], timeout=self._patience(silent_seconds, overdue))
            if self._ended.done():
                self._ended.result()
            was_overdue, overdue = overdue, self._is_owed(silent_seconds)
            if overdue and was_overdue:
                raise RedisConnectionError(f"no answer for {silent_seconds} s")

    def _is_owed(self, seconds: float) -> bool:
        return self._unanswered > 0 and self._loop.time() - self._asked_at >= seconds

    def _patience(self, seconds: float, overdue: bool) -> float:
        """How long to wait before looking again. A process that had no CPU for so long finds time
        up and the answer there, so it looks twice."""
        soon = seconds / 10
        if overdue:
            return soon
        if not self._unanswered:
            return seconds
        return max(self._asked_at + seconds - self._loop.time(), soon)

    def _go(self) -> None:
        """Send what waits, unless a trip is under way: its answer will."""
        if self._unanswered or self._ended.done():
            return
        self._under_way = self._outbox.take()
        self._unanswered = len(self._under_way)
        if self._under_way:
            self._asked_at = self._loop.time()
            self._connection._writer.write(b"".join(map(_publish, self._under_way)))

    def _take(self, replies: Iterator[Any]) -> None:
        """Count the answers; the last one lets the next trip go."""
        for _ in replies:
            self._unanswered -= 1
        self._go()

    # --- asyncio calls this ---------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.feed(data, len(data))


def _publish(message: Message) -> bytes:
    command: Any = ("PUBLISH", *message)  # its stub knows no tuple of several
    return hiredis.pack_command(command)
