"""A connection to Redis that only publishes, many messages in one write.

redis-py's pipeline awaits several times for each message, which in a process that commits a
thousand times a second costs more than what it publishes. Here nothing is awaited: a trip is one
write, and the answer to it, read where it arrives, sends off what has gathered meanwhile.
Connecting, passwords and TLS stay redis-py's.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, NoReturn, Self

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from quotes.streaming.bus.hearing import take_over
from quotes.streaming.bus.outbox import Message, Outbox


class Saying(asyncio.Protocol):
    """One connection, from `async with` to its end, that empties an outbox while it lasts.

    Its errors are RedisError and OSError. When it ends, what Redis has not answered goes back:
    nobody knows which of it arrived, and all of it is to be sent again.
    """

    def __init__(self, redis: Redis, outbox: Outbox) -> None:
        self._connection: Any = redis.connection_pool.make_connection()
        self._answers = hiredis.Reader(replyError=ResponseError)
        self._outbox = outbox
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._under_way: list[Message] = []
        self._unanswered = 0
        self._asked_at = 0.0

    async def __aenter__(self) -> Self:
        await self._connection.connect()
        take_over(self._connection, self)
        self._outbox.carried_by(self._go)
        self._go()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._ended.cancel():
            self._ended.exception()  # seen, or asyncio would complain of it
        self._outbox.carried_by(None)
        self._outbox.put_back(self._under_way)
        await self._connection.disconnect(nowait=True)

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

    # --- asyncio calls these --------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.feed(data, len(data))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or RedisConnectionError("Redis closed the connection"))

    def feed(self, data: bytes, length: int) -> None:
        """Count the answers that these bytes complete; the last one lets the next trip go."""
        try:
            self._answers.feed(data, 0, length)
            while (reply := self._answers.gets()) is not False:
                if isinstance(reply, Exception):
                    raise reply
                self._unanswered -= 1
            self._go()
        except Exception as error:
            self._end(error)

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)


def _publish(message: Message) -> bytes:
    command: Any = ("PUBLISH", *message)  # its stub knows no tuple of several
    return hiredis.pack_command(command)
