"""A connection to Redis that only hears, many messages to one read.

redis-py's own PubSub awaits several times for each message, which at a thousand messages a second
costs more than to deliver them. Here nothing is awaited: each read of the socket is parsed where it
arrives, and its messages are handed on one by one. Connecting, passwords and TLS stay redis-py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Protocol, Self

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

READ_BYTES = 256 * 1024


class Heard(NamedTuple):
    """What Redis says to who is subscribed: `kind` is subscribe, unsubscribe or message."""

    kind: bytes
    channel: str
    data: bytes


class Hearing(asyncio.BufferedProtocol):
    """One connection, from `async with` to its end. Its errors are RedisError and OSError.

    Calls `hear` with each message in its order; whatever that raises ends the connection.
    """

    def __init__(self, redis: Redis, hear: Callable[[Heard], None]) -> None:
        self._connection: Any = redis.connection_pool.make_connection()
        self._hear = hear
        self._parser = hiredis.Reader(replyError=ResponseError)
        self._room = bytearray(READ_BYTES)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._heard_at = 0.0

    async def __aenter__(self) -> Self:
        await self._connection.connect()
        self._heard_at = self._loop.time()
        take_over(self._connection, self)
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

    async def subscribe(self, *channels: str) -> None:
        await self._connection.send_command("SUBSCRIBE", *channels, check_health=False)

    async def unsubscribe(self, *channels: str) -> None:
        await self._connection.send_command("UNSUBSCRIBE", *channels, check_health=False)

    async def ping(self) -> None:
        """Make Redis say something; nobody hears it, but the connection is not silent."""
        await self._connection.send_command("PING", check_health=False)

    async def last(self, silent_seconds: float) -> NoReturn:
        """Wait for the end and raise it: the connection is lost, or silent for so long."""
        while (left := self._heard_at + silent_seconds - self._loop.time()) > 0:
            await asyncio.wait([self._ended], timeout=left)
            if self._ended.done():
                self._ended.result()
        raise RedisConnectionError(f"silent for {silent_seconds} s")

    # --- asyncio calls these --------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        self.feed(self._room, nbytes)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or RedisConnectionError("Redis closed the connection"))

    def feed(self, data: bytes | bytearray, length: int) -> None:
        """Hand on what these bytes complete."""
        self._heard_at = self._loop.time()
        self._parser.feed(data, 0, length)  # type: ignore[arg-type]  # any buffer will do
        try:
            while (reply := self._parser.gets()) is not False and not self._ended.done():
                self._take(reply)
        except Exception as error:
            self._end(error)

    def _take(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            raise reply
        # RESP 3 answers a ping with a plain PONG, RESP 2 with a list of two.
        if isinstance(reply, list) and len(reply) == len(Heard._fields):
            kind, channel, content = reply
            self._hear(Heard(kind, channel.decode(), content))

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)


class Taking(Protocol):
    """A protocol that takes over a connection of redis-py's."""

    def feed(self, data: bytes, length: int) -> None:
        """What redis-py had read already."""
        ...


def take_over(connection: Any, taking: Taking) -> None:
    """From now on what arrives goes to `taking`: the one place that knows redis-py's inside."""
    reader: asyncio.StreamReader | None = connection._reader
    if reader is None:
        raise RedisConnectionError("not connected")
    connection._writer.transport.set_protocol(taking)
    connection._writer.transport.resume_reading()
    already = bytes(reader._buffer)  # type: ignore[attr-defined]
    if already:
        taking.feed(already, len(already))
