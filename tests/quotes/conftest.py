from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.util import find_spec

import pytest

from quotes.streaming.hub import Hub
from tests.quotes.hub_readers import Store, hub_on
from tests.quotes.rooms import REDIS_SECONDS


@pytest.fixture
def patient_with_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is neither a Redis that is away nor a process that died."""
    if find_spec("redis") is None:
        return
    from quotes.streaming import redis_seats

    monkeypatch.setattr(redis_seats, "TIMEOUT_SECONDS", REDIS_SECONDS)
    monkeypatch.setattr(redis_seats, "GONE_SECONDS", REDIS_SECONDS)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def hub(store: Store) -> AsyncIterator[Hub]:
    async with hub_on(store) as hub:
        yield hub
