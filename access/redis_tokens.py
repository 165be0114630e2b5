"""Tokens that all workers share, in Redis.

    openbell:limit:<end of the minute>:<caller>    tokens that all workers have drawn

One script grants a block and never more than the limit, whoever asks at once. While Redis is away
each process counts alone: then the limit holds per process, and nobody is refused for our trouble.
"""

from __future__ import annotations

import logging
import time

from django.conf import settings
from prometheus_client import Counter
from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from access.tokens import Alone, Draw

TIMEOUT_SECONDS = 0.2
AWAY_SECONDS = 1.0  # after an error nobody waits for Redis again until then
KEPT_SECONDS = 120  # the minute, and clocks of machines that differ

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

    def draw(self, caller: str, ends_at: int, limit: int) -> Draw:
        if time.monotonic() < self._away_until:
            return Alone().draw(caller, ends_at, limit)
        try:
            key = f"openbell:limit:{ends_at}:{caller}"
            granted, drawn = self._draw(keys=[key], args=[limit, KEPT_SECONDS])
        except RedisError as error:
            UNAVAILABLE.inc()
            log.warning("limits: Redis did not answer, this process counts alone (%s)", error)
            self._away_until = time.monotonic() + AWAY_SECONDS
            return Alone().draw(caller, ends_at, limit)
        return Draw(granted, drawn)
