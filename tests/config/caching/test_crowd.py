"""More threads than connections to Redis: they wait for their turn, and nobody finds it away."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches

pytestmark = pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="NO REDIS: set REDIS_URL")

CROWD = 150  # redis-py's own pool refuses what comes after a hundred
STANDSTILL_MS = 60  # shorter than a time-out


def from_cache() -> Callable[[], Any]:
    caches["state"].set("seat", "taken", 60)
    return lambda: caches["state"].get("seat")


def from_loading_cache() -> Callable[[], Any]:
    def get(load: Any) -> Any:
        cache: Any = caches["quotes"]
        return cache.get_or_load_many("assets", ["seat"], load).get("seat")

    get(lambda keys: {"seat": "taken"})
    return lambda: get(lambda keys: {})


def from_latest() -> Callable[[], Any]:
    from quotes.latest.redis import RedisStore
    from quotes.ticks import Quote

    store = RedisStore(settings.REDIS_URL)
    store.put_many([Quote("AAPL", 1, 1, 1, 2, 1)])
    return lambda: "taken" if "AAPL" in store.get_many(["AAPL"]) else None


def from_limits() -> Callable[[], Any]:
    from access.redis_tokens import RedisTokens
    from access.tokens import Alone

    tokens = RedisTokens(settings.REDIS_URL)
    tokens.draw("seat", 60, 1000)
    alone = Alone().draw("seat", 60, 1000)
    return lambda: "taken" if tokens.draw("seat", 60, 1000) != alone else None


@pytest.mark.parametrize("client", [from_cache, from_loading_cache, from_latest, from_limits])
def test_crowd_waits_for_its_turn(client: Callable[[], Callable[[], Any]]) -> None:
    from redis import Redis

    ask, gate = client(), threading.Barrier(CROWD + 1)

    def run() -> Any:
        gate.wait(30)
        return ask()

    with Redis.from_url(settings.REDIS_URL) as operator, ThreadPoolExecutor(CROWD) as pool:
        before = operator.info("clients")["connected_clients"]
        answers = [pool.submit(run) for _ in range(CROWD)]
        operator.client_pause(STANDSTILL_MS)  # so that all ask before one is answered
        gate.wait(30)
        assert [answer.result(30) for answer in answers] == ["taken"] * CROWD
        opened = operator.info("clients")["connected_clients"] - before
        assert opened <= settings.REDIS_CONNECTIONS_MAX
