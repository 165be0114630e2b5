"""A connection to Redis that only hears, many messages to one read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Self

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from quotes.streaming.bus.link import Link

READ_BYTES = 256 * 1024


# Called with what Redis says: subscribe, unsubscribe or message; the channel; the data.
Hear = Callable[[bytes, str, bytes], None]


class Hearing(Link, asyncio.BufferedProtocol):
    """A link that calls `hear` with each message in its order; what that raises is the end."""

    def __init__(self, redis: Redis, hear: Hear) -> None:
        super().__init__(redis)
        self._hear = hear
        self._room = bytearray(READ_BYTES)
        self.heard_at = 0.0  # by the loop's time, when Redis last said anything

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.heard_at = self._loop.time()
        return self

    async def subscribe(self, *channels: str) -> None:
        await self._connection.send_command("SUBSCRIBE", *channels, check_health=False)

    async def unsubscribe(self, *channels: str) -> None:
        await self._connection.send_command("UNSUBSCRIBE", *channels, check_health=False)

    async def ping(self) -> None:
        """Make Redis say something; nobody hears it, but the connection is not silent."""
        await self._connection.send_command("PING", check_health=False)

    async def last(self, silent_seconds: float) -> NoReturn:
        """Wait for the end and raise it: the connection is lost, or silent for so long."""
        while (left := self.heard_at + silent_seconds - self._loop.time()) > 0:
            await asyncio.wait([self._ended], timeout=left)
            if self._ended.done():
                self._ended.result()
        raise RedisConnectionError(f"silent for {silent_seconds} s")

    # --- asyncio calls these --------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        self.feed(self._room, nbytes)

    def _take(self, replies: Iterator[Any]) -> None:
        self.heard_at = self._loop.time()
        for reply in replies:
            # RESP 3 answers a ping with a plain PONG, RESP 2 with a list of two.
            if isinstance(reply, list) and len(reply) == 3:
                kind, channel, content = reply
                self._hear(kind, channel.decode(), content)
