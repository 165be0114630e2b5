"""A connection to Redis that only publishes, many messages in one write.

redis-py's pipeline awaits several times for each message, which in a process that commits a
thousand times a second costs more than what it publishes. Here a trip is one write and, as a rule,
one read. Connecting, passwords and TLS stay redis-py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from quotes.streaming.bus.outbox import Message

READ_BYTES = 64 * 1024


class Saying:
    """One connection, made when there is something to say; errors are RedisError and OSError."""

    def __init__(self, redis: Redis) -> None:
        self._connection: Any = redis.connection_pool.make_connection()
        self._answers = hiredis.Reader(replyError=ResponseError)

    async def publish(self, messages: Sequence[Message], timeout: float) -> None:
        """Send these and wait until Redis has them all; TimeoutError when it is silent for so long.

        After an error nobody knows which arrived: close it, and send all of them again.
        """
        if not self._is_open():
            await self.close()
            async with asyncio.timeout(timeout):
                await self._connection.connect()
        answers, questions = streams(self._connection)
        questions.write(b"".join(map(_publish, messages)))
        await self._answered(answers, len(messages), timeout)

    async def close(self) -> None:
        """Forget the connection, and what it still has to answer."""
        self._answers = hiredis.Reader(replyError=ResponseError)
        await self._connection.disconnect(nowait=True)

    def _is_open(self) -> bool:
        """Whether Redis has not hung up since the last trip."""
        return self._connection.is_connected and not streams(self._connection)[0].at_eof()

    async def _answered(self, answers: asyncio.StreamReader, count: int, timeout: float) -> None:
        while count:
            data = await _read(answers, timeout)
            if not data:
                raise RedisConnectionError("Redis closed the connection")
            self._answers.feed(data)
            while (reply := self._answers.gets()) is not False:
                if isinstance(reply, Exception):
                    raise reply
                count -= 1


async def _read(answers: asyncio.StreamReader, timeout: float) -> bytes:
    """What has come, or comes in time.

    A process that had no CPU for so long finds time up and the answer there, so it looks again.
    """
    try:
        async with asyncio.timeout(timeout):
            return await answers.read(READ_BYTES)
    except TimeoutError:
        async with asyncio.timeout(0):
            return await answers.read(READ_BYTES)


def _publish(message: Message) -> bytes:
    command: Any = ("PUBLISH", *message)  # its stub knows no tuple of several
    return hiredis.pack_command(command)


def streams(connection: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """What redis-py reads from and writes to: here alone by their private names."""
    if connection._reader is None or connection._writer is None:
        raise RedisConnectionError("not connected")
    return connection._reader, connection._writer
