"""Fixtures and rules of the whole suite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["tests.folder_times"]

ROOT = Path(__file__).resolve().parent.parent
LONG = os.environ.get("OPENBELL_TEST_LONG") == "1"


@pytest.fixture(scope="session")
def lean_data() -> Path:
    """The folder of recorded LEAN data; tests that need it skip, loudly, where it is absent."""
    folder = Path(os.environ.get("LEAN_DATA") or ROOT.parent / "shared" / "lean").resolve()
    if not (folder / "equity" / "usa").is_dir():
        pytest.skip(f"NO RECORDED MARKET DATA in {folder}: set LEAN_DATA to a LEAN data folder")
    return folder


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """No test sees the people, the market time, the quotes or the subscriptions of the last one."""
    from django.conf import settings
    from django.core.cache import caches

    from access.lookups import forget_everyone
    from quotes.clock import forget_clock
    from quotes.latest import forget_latest
    from quotes.streaming.bus import forget_bus

    yield
    forget_bus()
    forget_latest()
    forget_clock()
    forget_everyone()
    caches["quotes"].clear()
    if settings.REDIS_URL:
        _redis(settings.REDIS_URL).flushdb()


@pytest.fixture(autouse=True)
def _bus_in_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests hear what they publish at once; over Redis only those marked `redis_bus` do not.

    What is heard over Redis arrives later, and not before the subscription flows: that is the
    bus's own suite, which runs every promise of the bus over both.
    """
    from django.conf import settings

    if request.node.get_closest_marker("redis_bus") is None:
        monkeypatch.setattr(settings, "REDIS_STATE_URL", "")


@cache
def _redis(url: str) -> Any:
    from redis import Redis

    return Redis.from_url(url)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests marked `long` for `make test-long`."""
    if LONG:
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="long: runs with make test-long"))


def pytest_report_header() -> list[str]:
    """Say which servers this run is on, so that nobody mistakes one for the other."""
    from django.conf import settings

    database = settings.DATABASES["default"]["ENGINE"].rpartition(".")[2]
    redis = "Redis" if settings.REDIS_URL else "in-process stand-ins for Redis"
    return [f"openbell: {database}, {redis}, {'long' if LONG else 'short'} form"]
