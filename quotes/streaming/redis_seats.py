"""Seats that all processes count together, in Redis.

    openbell:seats:<holder>     hash: process → how many sockets of the holder it has open
    openbell:seats:@<process>   is there while the process lives; else what it held does not count.
                                "-": it has not yet told all that it holds, and none of it counts

A process tells absolute numbers, one trip after the other. After a trip whose end is not known, or
where Redis lost what it was told, it goes on under a new name and tells everything anew: nothing
that arrives late under the old one counts. A connection that had to be opened again may lead to a
Redis that was started again and lost its last second, so it counts as such a loss. Until each
process has noticed, a beat later, a limit may be passed by what was lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from uuid import uuid4

from prometheus_client import Counter
from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from quotes.streaming.seats import Away, Limits

TIMEOUT_SECONDS = 0.2
AWAY_SECONDS = 1.0  # after an error nobody waits for Redis again until then
# A process that has not said for so long that it lives is dead: five of its beats.
GONE_SECONDS = 5.0
# Counts of holders that nobody speaks of any more go; so each is told again in good time.
KEPT_SECONDS = 24 * 3600.0
TOLD_AGAIN_SECONDS = KEPT_SECONDS / 3
HOLDERS_PER_TRIP = 1_000

PREFIX = "openbell:seats:"

# KEYS: who asks, the holders. ARGV: the name of who asks, for how many ms counts are kept, and the
# limit of each holder. Answers -1 where it is not known what else who asks holds.
TAKE = """
if redis.call('EXISTS', KEYS[1]) == 0 then
    return -1
end
for i = 2, #KEYS do
    local held, total = redis.call('HGETALL', KEYS[i]), 0
    for j = 1, #held, 2 do
        local life = redis.call('GET', 'openbell:seats:@' .. held[j])
        if not life then
            redis.call('HDEL', KEYS[i], held[j])
        elseif life ~= '-' then
            total = total + tonumber(held[j + 1])
        end
    end
    if total >= tonumber(ARGV[i + 1]) then
        return 0
    end
end
for i = 2, #KEYS do
    redis.call('HINCRBY', KEYS[i], ARGV[1], 1)
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
end
return 1
"""

UNAVAILABLE = Counter("openbell_seats_redis_unavailable_total", "Trips that Redis did not answer.")
log = logging.getLogger(__name__)


class RedisSeats:
    """Redis behind the contract of `quotes.streaming.seats.Shared`."""

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=1,  # there is one trip at a time
            timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # a trip that is repeated might take a seat twice
            redis_connect_func=self._connected,
        )
        self._redis: Redis = Redis(connection_pool=pool)
        self._take = self._redis.register_script(TAKE)
        self._name = ""  # none: nothing is told yet
        self._connection = 0  # how many were opened so far
        self._told_on = 0  # how many there were when all was told
        self._tell_all_at = 0.0
        self._away_until = 0.0

    def exchange(self, changed: Mapping[str, int], wishes: Sequence[Limits]) -> list[bool] | None:
        self._check_there()
        if not self._name or time.monotonic() >= self._tell_all_at:
            return None
        try:
            return self._exchange(changed, wishes)
        except RedisError as error:
            raise self._away(error) from error

    def exchange_anew(self, taken: Mapping[str, int], wishes: Sequence[Limits]) -> list[bool]:
        self._check_there()
        try:
            self._tell_all(taken)
            granted = self._exchange({}, wishes)
        except RedisError as error:
            raise self._away(error) from error
        if granted is None:
            raise self._away("it forgot us at once")
        return granted

    def leave(self) -> None:
        self._check_there()
        try:
            self._redis.delete(_key(f"@{self._name}"))
        except RedisError as error:
            raise self._away(error) from error

    def _exchange(self, changed: Mapping[str, int], wishes: Sequence[Limits]) -> list[bool] | None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.pexpire(_key(f"@{self._name}"), _ms(GONE_SECONDS))
        for holder, count in changed.items():
            _tell(pipeline, self._name, holder, count)
        for limits in wishes:
            keys = [_key(f"@{self._name}"), *map(_key, limits)]
            self._take(keys, [self._name, _ms(KEPT_SECONDS), *limits.values()], client=pipeline)
        is_known, *answers = pipeline.execute()
        taken = answers[len(answers) - len(wishes) :]
        if not is_known or -1 in taken or self._connection != self._told_on:
            return None
        return [answer == 1 for answer in taken]

    def _tell_all(self, taken: Mapping[str, int]) -> None:
        """Under a new name, which counts when all of it is said, and from then on the old not."""
        old, new = self._name, uuid4().hex
        life = _key(f"@{new}")
        self._redis.set(life, "-", px=_ms(GONE_SECONDS))
        connection = self._connection
        for some in _slices(taken):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.pexpire(life, _ms(GONE_SECONDS))
            for holder, count in some.items():
                _tell(pipeline, new, holder, count)
            pipeline.execute()
        change = self._redis.pipeline(transaction=True)
        # If it has gone meanwhile, others may have removed what was told: then it stays away.
        change.set(life, "+", px=_ms(GONE_SECONDS), xx=True)
        change.delete(_key(f"@{old}"))
        change.execute()
        self._name, self._told_on = new, connection
        self._tell_all_at = time.monotonic() + TOLD_AGAIN_SECONDS

    def _connected(self, connection: Any) -> None:
        connection.on_connect()
        self._connection += 1

    def _check_there(self) -> None:
        if time.monotonic() < self._away_until:
            raise Away

    def _away(self, why: object) -> Away:
        UNAVAILABLE.inc()
        log.warning("seats: Redis did not answer, this process counts alone (%s)", why)
        self._away_until = time.monotonic() + AWAY_SECONDS
        self._tell_all_at = 0.0
        return Away()


def _tell(pipeline: Any, process: str, holder: str, count: int) -> None:
    if not count:
        pipeline.hdel(_key(holder), process)
        return
    pipeline.hset(_key(holder), process, count)
    pipeline.pexpire(_key(holder), _ms(KEPT_SECONDS))


def _slices(taken: Mapping[str, int]) -> Iterator[dict[str, int]]:
    items = iter(taken.items())
    while some := dict(islice(items, HOLDERS_PER_TRIP)):
        yield some


def _key(name: str) -> str:
    return PREFIX + name


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
