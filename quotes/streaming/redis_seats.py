"""Seats that all processes count together, in Redis.

    openbell:seats:<holder>     hash: process → how many sockets of the holder it has open
    openbell:seats:@<process>   is there while the process lives; else what it held does not count.
                                "-": it has not yet told all that it holds, and none of it counts
    openbell:seats:!<account>   hash: process → its seats of the account, while there are too many
    openbell:seats:?<process>   set: the accounts that others ask it about, as there are too many

A process tells absolute numbers, one trip after the other. After a trip whose end is not known, or
where Redis lost what it was told, it goes on under a new name and tells everything anew: nothing
that arrives late under the old one counts. A connection that had to be opened again may lead to a
Redis that was started again and lost its last second, so it counts as such a loss. Until each
process has noticed, a beat later, a limit may be passed by what was lost; who is over it goes when
all have told since when they have their seats.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from uuid import uuid4

import orjson
from prometheus_client import Counter
from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from quotes.streaming.seating import GONE_SECONDS, Away, Claim, Limits, Seating, Told, over

TIMEOUT_SECONDS = 0.2
AWAY_SECONDS = 1.0  # after an error nobody waits for Redis again until then
# Counts of holders that nobody speaks of any more go; so each is told again in good time.
KEPT_SECONDS = 24 * 3600.0
TOLD_AGAIN_SECONDS = KEPT_SECONDS / 3
COMPARED_SECONDS = 60.0  # which seats they are is told every beat as long as somebody asks
HOLDERS_PER_TRIP = 1_000

PREFIX = "openbell:seats:"

TOTAL = """
local function total(holder)
    local held, seats = redis.call('HGETALL', holder), 0
    for i = 1, #held, 2 do
        local life = redis.call('GET', 'openbell:seats:@' .. held[i])
        if not life then
            redis.call('HDEL', holder, held[i])
        elseif life ~= '-' then
            seats = seats + tonumber(held[i + 1])
        end
    end
    return seats
end
"""

# KEYS: who asks, the holders. ARGV: the name of who asks, for how many ms counts are kept, and the
# limit of each holder. Answers -1 where it is not known what else who asks holds.
TAKE = f"""{TOTAL}
if redis.call('EXISTS', KEYS[1]) == 0 then
    return -1
end
for i = 2, #KEYS do
    if total(KEYS[i]) >= tonumber(ARGV[i + 1]) then
        return 0
    end
end
for i = 2, #KEYS do
    redis.call('HINCRBY', KEYS[i], ARGV[1], 1)
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
end
return 1
"""

# KEYS: who asks, which seats there are, the holders of those of who asks, their account first.
# ARGV: the name of who asks, the account, how many of its seats who asks has and which, for how
# many ms that is kept, and the limit of each holder. Answers nothing where no holder has too many;
# else each process with its number of seats and, as far as it has told, which.
COMPARE = f"""{TOTAL}
if redis.call('GET', KEYS[1]) ~= '+' then
    return {{}}
end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
local is_over = false
for i = 3, #KEYS do
    is_over = total(KEYS[i]) > tonumber(ARGV[i + 3]) or is_over
end
if not is_over then
    return {{}}
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
local held, told = redis.call('HGETALL', KEYS[3]), {{}}
for i = 1, #held, 2 do
    if redis.call('GET', 'openbell:seats:@' .. held[i]) == '+' then
        local seats = redis.call('HGET', KEYS[2], held[i]) or ''
        told[#told + 1] = {{held[i], held[i + 1], seats}}
        if held[i] ~= ARGV[1] then
            redis.call('SADD', 'openbell:seats:?' .. held[i], ARGV[2])
            redis.call('PEXPIRE', 'openbell:seats:?' .. held[i], ARGV[5])
        end
    end
end
return told
"""

UNAVAILABLE = Counter("openbell_seats_redis_unavailable_total", "Trips that Redis did not answer.")
log = logging.getLogger(__name__)


class RedisSeats:
    """Redis behind the contract of `quotes.streaming.seating.Shared`."""

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
        self._compare = self._redis.register_script(COMPARE)
        self._name = ""  # none: nothing is told yet
        self._connection = 0  # how many were opened so far
        self._told_on = 0  # how many there were when all was told
        self._tell_all_at = 0.0
        self._away_until = 0.0

    def exchange(self, changed: Mapping[str, int], wishes: Sequence[Limits]) -> Told | None:
        self._check_there()
        if not self._name or time.monotonic() >= self._tell_all_at:
            return None
        try:
            return self._exchange(changed, wishes)
        except RedisError as error:
            raise self._away(error) from error

    def exchange_anew(self, taken: Mapping[str, int], wishes: Sequence[Limits]) -> Told:
        self._check_there()
        try:
            self._tell_all(taken)
            told = self._exchange({}, wishes)
        except RedisError as error:
            raise self._away(error) from error
        if told is None:
            raise self._away("it forgot us at once")
        return told

    def find_over(self, here: Mapping[str, Seating]) -> dict[str, list[int]]:
        self._check_there()
        pipeline = self._redis.pipeline(transaction=False)
        for account, seating in here.items():
            self._ask_about(pipeline, account, seating)
        try:
            answers = pipeline.execute()
        except RedisError as error:
            raise self._away(error) from error
        return {
            account: self._over(told) for account, told in zip(here, answers, strict=True) if told
        }

    def leave(self) -> None:
        self._check_there()
        try:
            self._redis.delete(_key(f"@{self._name}"))
        except RedisError as error:
            raise self._away(error) from error

    def _exchange(self, changed: Mapping[str, int], wishes: Sequence[Limits]) -> Told | None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.pexpire(_key(f"@{self._name}"), _ms(GONE_SECONDS))
        pipeline.spop(_key(f"?{self._name}"), HOLDERS_PER_TRIP)
        for holder, count in changed.items():
            _tell(pipeline, self._name, holder, count)
        for limits in wishes:
            keys = [_key(f"@{self._name}"), *map(_key, limits)]
            self._take(keys, [self._name, _ms(KEPT_SECONDS), *limits.values()], client=pipeline)
        is_known, asked, *answers = pipeline.execute()
        taken = answers[len(answers) - len(wishes) :]
        if not is_known or -1 in taken or self._connection != self._told_on:
            return None
        return Told([answer == 1 for answer in taken], [account.decode() for account in asked])

    def _ask_about(self, pipeline: Any, account: str, seating: Seating) -> None:
        """Who else has seats of the account, should there be too many; and tell which are here."""
        limits = {holder: most for each in seating.values() for holder, most in each.items()}
        keys = map(_key, (f"@{self._name}", f"!{account}", *limits))
        which = orjson.dumps(list(seating.items()))
        told = (self._name, account, len(seating), which, _ms(COMPARED_SECONDS))
        self._compare(list(keys), [*told, *limits.values()], client=pipeline)

    def _over(self, told: Sequence[tuple[bytes, bytes, bytes]]) -> list[int]:
        """When those were taken that go here; none as long as one process has not told which."""
        claims: list[Claim] = []
        for process, count, which in told:
            seating = orjson.loads(which or b"[]")
            if len(seating) != int(count):
                return []
            claims += (Claim(at, process.decode(), limits) for at, limits in seating)
        return [claim.taken_at_us for claim in over(claims) if claim.process == self._name]

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
