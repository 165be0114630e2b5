"""The backend over Redis. Apart, because the embedded set runs without django-redis."""

from __future__ import annotations

from typing import Any

from django_redis.cache import RedisCache  # type: ignore[import-untyped]
from redis.exceptions import RedisError

from config.caching.backend import Loading, process_cache
from config.caching.loading import LoadingCache
from config.caching.redis_entries import RedisEntries


class SharedCache(Loading, RedisCache):
    """Of many processes: django-redis, its connections and its time-outs."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self.loading = process_cache(
            server,
            lambda: LoadingCache(RedisEntries(self.client.get_client(write=True)), (RedisError,)),
        )

    def clear(self) -> None:
        """Forget what was loaded; django-redis would flush all that Redis holds."""
        self.loading.clear()
