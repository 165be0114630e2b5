"""The stampede-safe cache: of many that miss a value at once, one loads it.

    fresh     answered
    stale     answered, while the one who got the lock loads
    missing   the one who got the lock loads; this process's others wait for it, and where another
              process has the lock, one of this process looks again until the value stands

A caller loads all that it locked with one call before it waits for the rest. A holder that dies
keeps others waiting until its lock expires, no longer. While Redis is away the process caches by
itself, briefly. Never call it on an event loop's thread.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgpack
from prometheus_client import Counter

from config.caching.entries import Caller, Entries, LocalEntries, Taken
from config.caching.policy import NAMESPACES, Namespace
from events.errors import Unavailable

LOOK_AGAIN_SECONDS = 0.02
AWAY_SECONDS = 1.0  # after an error nobody waits for Redis again until then
FRESH_WHILE_AWAY_SECONDS = 2.0  # nobody tells us then what others changed
BEING_LOADED = "the data is still being loaded, try again"

HITS = Counter("openbell_cache_hits_total", "Values that were fresh.", ["namespace"])
MISSES = Counter("openbell_cache_misses_total", "Values that had to be loaded.", ["namespace"])
STALE = Counter("openbell_cache_stale_total", "Values answered while one loads.", ["namespace"])
WAITS = Counter("openbell_cache_lock_waits_total", "Waits for another's load.", ["namespace"])
LOADS = Counter("openbell_cache_loads_total", "Calls of a loader.", ["namespace"])
AWAY = Counter("openbell_cache_redis_away_total", "Calls that Redis did not answer.")
log = logging.getLogger(__name__)

Load = Callable[[list[str]], Mapping[str, Any]]


class Flight:
    """A value on its way into this process: those who miss it meanwhile wait for it here."""

    def __init__(self) -> None:
        self._landed = threading.Event()
        self._outcome: bytes | Exception = b""

    def land(self, outcome: bytes | Exception) -> None:
        self._outcome = outcome
        self._landed.set()

    def wait(self, until: float) -> bytes:
        """The value. Raises what the load raised, and Unavailable when it takes too long."""
        if not self._landed.wait(max(0.0, until - time.monotonic())):
            raise Unavailable(BEING_LOADED)
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class LoadingCache:
    """One store of values, this process's flights to it, and the stand-in while it is away."""

    def __init__(self, entries: Entries, away_errors: tuple[type[Exception], ...] = ()) -> None:
        self._entries = entries
        self._away_errors = away_errors
        self._stand_in = LocalEntries(FRESH_WHILE_AWAY_SECONDS)
        self._away_until = 0.0
        self._flights: dict[tuple[str, str], Flight] = {}
        self._lock = threading.Lock()

    def get_or_load_many(self, name: str, keys: Iterable[str], load: Load) -> dict[str, Any]:
        """The values by key; a key that the loader does not know is left out.

        `load` is called once with all that this caller has to load. Values are plain data.
        Raises what it raises, unless stale values can stand in, and Unavailable when another's
        load does not end.
        """
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            return {}
        trip = _Trip(self, name, NAMESPACES[name], load)
        packed = trip.get(wanted)
        values = {key: msgpack.unpackb(packed[key], strict_map_key=False) for key in wanted}
        return {key: held[0] for key, held in values.items() if held}

    def forget(self, name: str, keys: Iterable[str] | None = None) -> None:
        """Drop these values, or all of the namespace: they changed. Call it after the commit."""
        dropped = None if keys is None else list(keys)
        self._stand_in.forget(name, dropped)
        with self._lock:
            for flying in list(self._flights):
                if flying[0] == name and (dropped is None or flying[1] in dropped):
                    del self._flights[flying]
        try:
            self._entries.forget(name, dropped)
        except self._away_errors as error:
            self._note_away(error)  # time is the net

    def clear(self) -> None:
        """Forget everything."""
        self._stand_in.clear()
        self._away_until = 0.0
        for name in NAMESPACES:
            self.forget(name)

    # --- for trips ------------------------------------------------------------------------------

    def take(self, caller: Caller, keys: list[str]) -> tuple[Entries, Taken]:
        """What stands of the keys, and where: Redis, or this process while it is away."""
        if time.monotonic() >= self._away_until:
            try:
                return self._entries, self._entries.take(caller, keys)
            except self._away_errors as error:
                self._note_away(error)
        return self._stand_in, self._stand_in.take(caller, keys)

    def give(
        self, entries: Entries, caller: Caller, generation: str, packed: Mapping[str, bytes | None]
    ) -> Mapping[str, bytes]:
        """What stands in the store instead of what was given."""
        try:
            return entries.give(caller, generation, packed)
        except self._away_errors as error:
            self._note_away(error)  # whoever waits for the lock gets it when it expires
            return {}

    def board(self, name: str, keys: Iterable[str]) -> tuple[dict[str, Flight], dict[str, Flight]]:
        """Flights that begin here, and those of others that already carry a key."""
        own, others = {}, {}
        with self._lock:
            for key in keys:
                flight = self._flights.get((name, key))
                if flight is not None:
                    others[key] = flight
                else:
                    own[key] = self._flights[name, key] = Flight()
        return own, others

    def land(self, name: str, key: str, flight: Flight, outcome: bytes | Exception) -> None:
        with self._lock:
            if self._flights.get((name, key)) is flight:
                del self._flights[name, key]
        flight.land(outcome)

    def _note_away(self, error: Exception) -> None:
        AWAY.inc()
        log.warning("cache: Redis did not answer (%s)", error)
        self._away_until = time.monotonic() + AWAY_SECONDS


class _Trip:
    """One caller's way through the cache."""

    def __init__(self, cache: LoadingCache, name: str, policy: Namespace, load: Load) -> None:
        self._cache = cache
        self._name, self._load = name, load
        self._caller = Caller(name, policy, secrets.token_hex(12))
        self._until = time.monotonic() + policy.wait_seconds

    def get(self, wanted: list[str]) -> dict[str, bytes]:
        entries, taken = self._take(wanted)
        found = taken.stale | taken.fresh
        missing = [key for key in wanted if key not in found and key not in taken.locked]
        self._count(taken, missing)
        if not taken.locked and not missing:
            return found
        own, others = self._cache.board(self._name, [*taken.locked, *missing])
        try:
            found |= self._load_locked(entries, taken, own)
            found |= self._look_again([key for key in missing if key in own], own)
        except BaseException as error:
            outcome = error if isinstance(error, Exception) else Unavailable(BEING_LOADED)
            for key, flight in own.items():
                self._cache.land(self._name, key, flight, outcome)
            raise
        # Last, when nobody waits for us any more: two never wait for each other.
        return found | {key: others[key].wait(self._until) for key in missing if key in others}

    def _count(self, taken: Taken, missing: list[str]) -> None:
        HITS.labels(self._name).inc(len(taken.fresh))
        STALE.labels(self._name).inc(len(taken.stale.keys() - set(taken.locked)))
        WAITS.labels(self._name).inc(len(missing))

    def _take(self, keys: list[str]) -> tuple[Entries, Taken]:
        return self._cache.take(self._caller, keys)

    def _load_locked(
        self, entries: Entries, taken: Taken, own: dict[str, Flight]
    ) -> dict[str, bytes]:
        """Load what is ours and write it back; stale values stand in for a load that fails."""
        if not taken.locked:
            return {}
        packed: dict[str, bytes | None] = dict.fromkeys(taken.locked)
        try:
            packed |= self._call_loader(taken.locked)
        except Exception:
            if not taken.stale.keys() >= set(taken.locked):
                raise
            log.warning("cache: loading %s failed, stale values answer", self._name, exc_info=True)
        finally:
            packed |= self._cache.give(entries, self._caller, taken.generation, packed)
        answers = {key: value or taken.stale[key] for key, value in packed.items()}
        for key in answers.keys() & own.keys():
            self._cache.land(self._name, key, own.pop(key), answers[key])
        return answers

    def _call_loader(self, keys: list[str]) -> dict[str, bytes]:
        LOADS.labels(self._name).inc()
        MISSES.labels(self._name).inc(len(keys))
        loaded = self._load(keys)
        # A list of one, so that the absence of a value is remembered as well: an empty one.
        return {key: msgpack.packb([loaded[key]] if key in loaded else []) for key in keys}

    def _look_again(self, keys: list[str], own: dict[str, Flight]) -> dict[str, bytes]:
        """Wait for the locks of other processes, and load what becomes ours."""
        found: dict[str, bytes] = {}
        while missing := [key for key in keys if key not in found]:
            if time.monotonic() > self._until:
                raise Unavailable(BEING_LOADED)
            entries, taken = self._take(missing)
            landed = taken.stale | taken.fresh
            for key in landed.keys() & own.keys() - set(taken.locked):
                self._cache.land(self._name, key, own.pop(key), landed[key])
            found |= landed | self._load_locked(entries, taken, own)
            if len(found) < len(keys):
                time.sleep(LOOK_AGAIN_SECONDS * random.uniform(0.5, 1.5))
        return found
