"""A connection to Redis that only hears, many messages to one read.

redis-py's own PubSub awaits several times for each message, which at a thousand messages a second
costs more than to deliver them. Here one read brings all that has arrived. Connecting, passwords
and TLS stay redis-py's.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, NamedTuple, Self

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


class Hearing:
    """One connection, from `async with` to its end. Its errors are RedisError and OSError."""

    def __init__(self, redis: Redis) -> None:
        self._connection: Any = redis.connection_pool.make_connection()
        self._parser = hiredis.Reader(replyError=ResponseError)

    async def __aenter__(self) -> Self:
        await self._connection.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._connection.disconnect(nowait=True)

    async def subscribe(self, *channels: str) -> None:
        await self._connection.send_command("SUBSCRIBE", *channels, check_health=False)

    async def unsubscribe(self, *channels: str) -> None:
        await self._connection.send_command("UNSUBSCRIBE", *channels, check_health=False)

    async def ping(self) -> None:
        """Make Redis say something; `read` brings nothing of it, but returns."""
        await self._connection.send_command("PING", check_health=False)

    async def read(self, timeout: float) -> list[Heard]:
        """What has arrived, in its order; waits for something. RedisConnectionError at the end."""
        try:
            async with asyncio.timeout(timeout):
                data = await incoming(self._connection).read(READ_BYTES)
        except TimeoutError:
            raise RedisConnectionError(f"silent for {timeout} s") from None
        if not data:
            raise RedisConnectionError("Redis closed the connection")
        self._parser.feed(data)
        heard = []
        while (reply := self._parser.gets()) is not False:
            if isinstance(reply, Exception):
                raise reply
            # RESP 3 answers a ping with a plain PONG, RESP 2 with a list of two.
            if isinstance(reply, list) and len(reply) == len(Heard._fields):
                kind, channel, content = reply
                heard.append(Heard(kind, channel.decode(), content))
        return heard


def incoming(connection: Any) -> asyncio.StreamReader:
    """What redis-py reads from: the one place that knows its private name."""
    stream: asyncio.StreamReader | None = connection._reader
    if stream is None:
        raise RedisConnectionError("not connected")
    return stream
