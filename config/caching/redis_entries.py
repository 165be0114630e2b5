"""The store that all processes share: Redis, in one round trip to take and one to give.

    openbell:cache:<name>.<version>                     the generation
    openbell:cache:<name>.<version>:<generation>:<key>  a value; fresh until stale_seconds before
                                                        Redis itself drops it, so no clock decides
    …:lock                                              the token of who loads it

Forgetting a namespace starts a new generation: nothing is searched, and the old one expires. A
generation is the time of its beginning, so one that Redis evicted is never begun again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from redis import Redis

from config.caching.entries import Caller, Taken, fresh_for
from config.caching.policy import NAMESPACES, Namespace

GENERATION_SECONDS = 7 * 24 * 3600

# ARGV: token, lock ms, stale ms, generation seconds, keys… Answers: generation, then for each key
# its value (or false) and 0 fresh, 1 locked for the caller, 2 locked by another.
TAKE = """
local generation = redis.call('GET', KEYS[1])
if not generation then
    local now = redis.call('TIME')
    generation = now[1] .. string.format('%06d', now[2])
    redis.call('SET', KEYS[1], generation, 'EX', ARGV[4])
end
local answer = {generation}
for i = 5, #ARGV do
    local entry = KEYS[1] .. ':' .. generation .. ':' .. ARGV[i]
    local value, state = redis.call('GET', entry), 0
    if not value or redis.call('PTTL', entry) <= tonumber(ARGV[3]) then
        state = redis.call('SET', entry .. ':lock', ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 2
    end
    answer[#answer + 1] = value
    answer[#answer + 1] = state
end
return answer
"""

# ARGV: generation, token, settle seconds, then key, milliseconds to keep (0: only free the lock)
# and value.
GIVE = """
local now = redis.call('TIME')
local has_settled = now[1] + now[2] / 1e6 - ARGV[1] / 1e6 >= tonumber(ARGV[3])
for i = 4, #ARGV, 3 do
    local entry = KEYS[1] .. ':' .. ARGV[1] .. ':' .. ARGV[i]
    if redis.call('GET', entry .. ':lock') == ARGV[2] then
        redis.call('DEL', entry .. ':lock')
        if ARGV[i + 1] ~= '0' and has_settled then
            redis.call('SET', entry, ARGV[i + 2], 'PX', ARGV[i + 1])
        end
    end
end
"""

# ARGV: keys; without any a new generation begins, later than every one before.
FORGET = """
local generation = redis.call('GET', KEYS[1])
if generation and #ARGV > 0 then
    for _, key in ipairs(ARGV) do
        local entry = KEYS[1] .. ':' .. generation .. ':' .. key
        redis.call('DEL', entry, entry .. ':lock')
    end
elseif generation then
    redis.call('DEL', KEYS[1])
end
"""


class RedisEntries:
    """Redis behind the contract of `Entries`. Raises what redis-py raises."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(TAKE)
        self._give = redis.register_script(GIVE)
        self._forget = redis.register_script(FORGET)

    def take(self, caller: Caller, keys: list[str]) -> Taken:
        policy = caller.policy
        lock_ms, stale_ms = int(policy.lock_seconds * 1000), int(policy.stale_seconds * 1000)
        answer: Any = self._take(
            keys=[_root(caller.name, policy)],
            args=[caller.token, lock_ms, stale_ms, GENERATION_SECONDS, *keys],
        )
        taken = Taken(answer[0].decode())
        for key, value, state in zip(keys, answer[1::2], answer[2::2], strict=True):
            if value is not None:
                (taken.stale if state else taken.fresh)[key] = value
            if state == 1:
                taken.locked.append(key)
        return taken

    def give(
        self, caller: Caller, generation: str, packed: Mapping[str, bytes | None]
    ) -> Mapping[str, bytes]:
        policy, values = caller.policy, list[Any]()
        for key, value in packed.items():
            keep_ms = int((fresh_for(policy) + policy.stale_seconds) * 1000)
            values += (key, 0 if value is None else keep_ms, value or b"")
        self._give(
            keys=[_root(caller.name, policy)],
            args=[generation, caller.token, policy.settle_seconds, *values],
        )
        return {}

    def forget(self, name: str, keys: Iterable[str] | None) -> None:
        wanted = [] if keys is None else list(keys)
        if keys is None or wanted:
            self._forget(keys=[_root(name, NAMESPACES[name])], args=wanted)


def _root(name: str, policy: Namespace) -> str:
    return f"openbell:cache:{name}.{policy.version}"
