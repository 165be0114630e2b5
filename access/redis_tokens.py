"""Tokens that all workers share, in Redis.

    openbell:limit:<end of the minute>:<caller>    tokens that all workers have drawn
    openbell:count:<end of the window>:<what>      how often it happened

One script grants a block and never more than the limit, whoever asks at once. While Redis is away
each process counts alone: then the limit holds per process, and nobody is refused for our trouble.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from prometheus_client import Counter
from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from access.tokens import Alone, Draw

TIMEOUT_SECONDS = 0.2
AWAY_SECONDS = 1.0  # after an error nobody waits for Redis again until then
KEPT_SECONDS = 120  # a minute, and clocks of machines that differ

# A block is a twentieth of the limit, or a quarter of what is left where that is less.
DRAW = """
local drawn, limit = tonumber(redis.call('GET', KEYS[1]) or 0), tonumber(ARGV[1])
local left = limit - drawn
if left <= 0 then
    return {0, drawn}
end
local block = math.max(1, math.floor(math.min(limit / 20, left / 4)))
redis.call('SET', KEYS[1], drawn + block, 'EX', ARGV[2])
return {block, drawn + block}
"""

UNAVAILABLE = Counter("openbell_limits_redis_unavailable_total", "Draws that Redis did not answer.")
log = logging.getLogger(__name__)


class RedisTokens:
    """A source that all workers share."""

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=settings.REDIS_CONNECTIONS_MAX,
            timeout=settings.REDIS_TURN_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # a draw that was made and not heard of is only a loss
        )
        self._redis: Redis = Redis(connection_pool=pool)
        self._draw = self._redis.register_script(DRAW)
        self._away_until = 0.0
        self._alone = Alone()

    def draw(self, caller: str, ends_at: int, limit: int) -> Draw:
        if time.monotonic() < self._away_until:
            return self._alone.draw(caller, ends_at, limit)
        try:
            key = f"openbell:limit:{ends_at}:{caller}"
            granted, drawn = self._draw(keys=[key], args=[limit, KEPT_SECONDS])
        except RedisError as error:
            self._lose(error)
            return self._alone.draw(caller, ends_at, limit)
        return Draw(granted, drawn)

    def count(self, whats: Sequence[str], ends_at: int, more: int) -> list[int]:
        if time.monotonic() < self._away_until:
            return self._alone.count(whats, ends_at, more)
        keys = [f"openbell:count:{ends_at}:{what}" for what in whats]
        try:
            return self._add(keys, ends_at, more) if more else self._look(keys)
        except RedisError as error:
            self._lose(error)
            return self._alone.count(whats, ends_at, more)

    def _add(self, keys: list[str], ends_at: int, more: int) -> list[int]:
        with self._redis.pipeline() as trip:
            for key in keys:
                trip.incrby(key, more)
            for key in keys:
                trip.expireat(key, ends_at + KEPT_SECONDS)
            return [int(count) for count in trip.execute()[: len(keys)]]

    def _look(self, keys: list[str]) -> list[int]:
        found: Any = self._redis.mget(keys)
        return [int(count or 0) for count in found]

    def _lose(self, error: RedisError) -> None:
        UNAVAILABLE.inc()
        log.warning("limits: Redis did not answer, this process counts alone (%s)", error)
        self._away_until = time.monotonic() + AWAY_SECONDS
