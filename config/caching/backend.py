"""The cache backends that settings name: Django's own, and what `Loading` adds to them.

Django makes a backend per thread; what loads and waits belongs to the process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from django.core.cache.backends.locmem import LocMemCache

from config.caching.entries import LocalEntries, OwnEntries, OwnStore
from config.caching.loading import HITS, Load, LoadingCache

_caches: dict[str, LoadingCache] = {}
_making = threading.Lock()


def process_cache(location: str, make: Callable[[], LoadingCache]) -> LoadingCache:
    """The process's one cache at this location."""
    with _making:
        if location not in _caches:
            _caches[location] = make()
        return _caches[location]


class Loading:
    """What both backends add; `loading` is the process's cache."""

    loading: LoadingCache

    def get_or_load_many(self, name: str, keys: Iterable[str], load: Load) -> dict[str, Any]:
        """`LoadingCache.get_or_load_many`."""
        return self.loading.get_or_load_many(name, keys, load)

    def forget(self, name: str, keys: Iterable[str] | None = None) -> None:
        """`LoadingCache.forget`."""
        self.loading.forget(name, keys)

    def over(self, store: OwnStore, away_errors: tuple[type[Exception], ...]) -> LoadingCache:
        """A cache that loads into a store of the app's own. The caller keeps it, per process."""
        return LoadingCache(OwnEntries(store), away_errors)

    def count_hits(self, name: str, count: int) -> None:
        """Count what an app found in its own memory, before it asked here."""
        HITS.labels(name).inc(count)


class LocalCache(Loading, LocMemCache):
    """Of the embedded mode: one process, its memory."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(location, params)
        self.loading = process_cache(location, lambda: LoadingCache(LocalEntries()))

    def clear(self) -> None:
        super().clear()
        self.loading.clear()


def _start_afresh_in_child() -> None:
    global _making
    _making = threading.Lock()
    _caches.clear()


os.register_at_fork(after_in_child=_start_afresh_in_child)  # a flight's thread does not survive
