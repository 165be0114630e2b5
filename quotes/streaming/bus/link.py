"""A connection to Redis whose bytes are read where they arrive.

redis-py's own readers await several times for each message, which at a thousand messages a second
costs more than what is done with them. Here nothing is awaited. Connecting, passwords and TLS stay
redis-py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError


class Link:
    """One connection, from `async with` to its end; with one of asyncio's protocols beside it.

    `_ended` has its error as soon as there is one: RedisError, OSError, or what `_take` raised.
    """

    def __init__(self, redis: Redis) -> None:
        self._connection: Any = redis.connection_pool.make_connection()
        self._parser = hiredis.Reader(replyError=ResponseError)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()

    async def __aenter__(self) -> Self:
        await self._connection.connect()
        _take_over(self._connection, self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._ended.cancel():
            self._ended.exception()  # seen, or asyncio would complain of it
        await self._connection.disconnect(nowait=True)

    def feed(self, data: bytes | bytearray, length: int) -> None:
        """Take what these bytes complete."""
        try:
            self._parser.feed(data, 0, length)  # type: ignore[arg-type]  # any buffer will do
            self._take(self._replies())
        except Exception as error:
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._end(exc or RedisConnectionError("Redis closed the connection"))

    def _take(self, replies: Iterator[Any]) -> None:
        """Do with the replies of one read what there is to do; whatever it raises is the end."""
        raise NotImplementedError

    def _replies(self) -> Iterator[Any]:
        while not self._ended.done() and (reply := self._parser.gets()) is not False:
            if isinstance(reply, Exception):
                raise reply
            yield reply

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)


def _take_over(connection: Any, link: Link) -> None:
    """From now on what arrives goes to the link: the one place that knows redis-py's inside."""
    reader: asyncio.StreamReader | None = connection._reader
    if reader is None:
        raise RedisConnectionError("not connected")
    connection._writer.transport.set_protocol(link)
    connection._writer.transport.resume_reading()
    already = bytes(reader._buffer)  # type: ignore[attr-defined]
    if already:
        link.feed(already, len(already))
