"""Where loaded values stand: the contract of both stores, and the store in this process's memory.

A store hands out locks with its answers: `take` finds what it holds and locks, for the caller, what
is missing or no longer fresh. `give` writes back where the caller's lock still stands and frees it.
Forgetting a value frees its lock too, so a load that began before never comes back.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from config.caching.policy import Namespace

BYTES_MAX = 64 * 1024 * 1024  # per process; the least lately used goes first


class Caller(NamedTuple):
    """Who asks a store, and for values of which namespace."""

    name: str
    policy: Namespace
    token: str  # the caller's own: by it a lock is known


@dataclass(slots=True)
class Taken:
    """The answer of `take`, by key."""

    generation: str  # of the namespace; `give` writes into the same
    fresh: dict[str, bytes] = field(default_factory=dict)
    stale: dict[str, bytes] = field(default_factory=dict)
    locked: list[str] = field(default_factory=list)  # missing or stale, and now ours to load


class Entries(Protocol):
    """A store of packed values, by namespace and key."""

    def take(self, caller: Caller, keys: list[str]) -> Taken:
        """What stands of the keys, and locks for what does not."""

    def give(
        self, caller: Caller, generation: str, packed: Mapping[str, bytes | None]
    ) -> Mapping[str, bytes]:
        """Write values where the lock is still ours, and free the locks; None only frees.

        Answers what stands instead, of values that a store has better than the caller.
        """

    def forget(self, name: str, keys: Iterable[str] | None) -> None:
        """Drop values and locks of the keys, or of the whole namespace."""


class OwnStore(Protocol):
    """A store that an app keeps itself, where others write too: `Loading.over` loads into it.

    Values are msgpack, of a list that holds the value, or of an empty one where there is none.
    """

    def take(self, keys: list[str], token: str, lock_ms: int) -> tuple[dict[str, bytes], list[str]]:
        """What it holds, and which keys it locked; another has the lock of the rest."""

    def give(
        self, packed: Mapping[str, bytes | None], token: str, absent_ms: int
    ) -> Mapping[str, bytes]:
        """Write where nothing newer stands, and free the locks; what stands then.

        That there is no value is remembered for `absent_ms`. None only frees.
        """


class OwnEntries:
    """An app's store behind the contract of `Entries`: nothing in it ends with time."""

    def __init__(self, store: OwnStore) -> None:
        self._store = store

    def take(self, caller: Caller, keys: list[str]) -> Taken:
        lock_ms = int(caller.policy.lock_seconds * 1000)
        found, locked = self._store.take(keys, caller.token, lock_ms)
        return Taken("", fresh=found, locked=locked)

    def give(
        self, caller: Caller, generation: str, packed: Mapping[str, bytes | None]
    ) -> Mapping[str, bytes]:
        return self._store.give(packed, caller.token, int(fresh_for(caller.policy) * 1000))

    def forget(self, name: str, keys: Iterable[str] | None) -> None:
        """Whoever has news puts it into the store."""


def fresh_for(policy: Namespace) -> float:
    """Seconds that a value written now is fresh: never longer than the policy says."""
    return policy.fresh_seconds * (1 - policy.jitter * random.random())


@dataclass(slots=True)
class _Entry:
    packed: bytes
    fresh_until: float
    stale_until: float


class LocalEntries:
    """The embedded store, and the stand-in while Redis is away."""

    def __init__(self, fresh_seconds_max: float = float("inf")) -> None:
        self._fresh_seconds_max = fresh_seconds_max
        self._lock = threading.Lock()
        self._bytes = 0
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._locks: dict[tuple[str, str], tuple[str, float]] = {}  # token, and until when

    def take(self, caller: Caller, keys: list[str]) -> Taken:
        name, taken, now = caller.name, Taken(generation=""), time.monotonic()
        with self._lock:
            for key in keys:
                entry = self._entries.get((name, key))
                if entry is not None and now < entry.fresh_until:
                    taken.fresh[key] = entry.packed
                    self._entries.move_to_end((name, key))
                    continue
                if entry is not None and now < entry.stale_until:
                    taken.stale[key] = entry.packed
                if self._locks.get((name, key), ("", now))[1] <= now:
                    self._locks[name, key] = caller.token, now + caller.policy.lock_seconds
                    taken.locked.append(key)
        return taken

    def give(
        self, caller: Caller, generation: str, packed: Mapping[str, bytes | None]
    ) -> Mapping[str, bytes]:
        name, policy, now = caller.name, caller.policy, time.monotonic()
        with self._lock:
            for key, value in packed.items():
                if self._locks.get((name, key), ("", 0.0))[0] != caller.token:
                    continue
                del self._locks[name, key]
                if value is not None:
                    until = now + min(fresh_for(policy), self._fresh_seconds_max)
                    self._drop((name, key))
                    self._entries[name, key] = _Entry(value, until, until + policy.stale_seconds)
                    self._bytes += len(value)
            while self._bytes > BYTES_MAX:
                self._drop(next(iter(self._entries)))
        return {}

    def forget(self, name: str, keys: Iterable[str] | None) -> None:
        with self._lock:
            if keys is None:
                gone = [held for held in [*self._entries, *self._locks] if held[0] == name]
            else:
                gone = [(name, key) for key in keys]
            for held in gone:
                self._drop(held)
                self._locks.pop(held, None)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._locks.clear()
            self._bytes = 0

    def _drop(self, held: tuple[str, str]) -> None:
        entry = self._entries.pop(held, None)
        if entry is not None:
            self._bytes -= len(entry.packed)
