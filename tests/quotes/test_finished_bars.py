"""Pages of bars from the cache: finished ones only, and never less than a reader has seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.caching.loading import HITS
from config.caching.policy import NAMESPACES
from quotes import finished_bars, history
from quotes.api.history import BarsQuery, bars_page
from quotes.bars import DAY, midnight
from tests.api import recording
from tests.api.recording import NOW, OPENED, TODAY, minute_bar
from tests.portfolios.market import set_market_time
from tests.waiting import eventually

TOMORROW = NOW + timedelta(days=1)
WHOLE_DAY = {"start": "2013-10-07", "end": "2013-10-07", "timeframe": "1Min"}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _recorded_day(monkeypatch: pytest.MonkeyPatch) -> None:
    recording.play()
    settled = replace(NAMESPACES["bars"], settle_seconds=0)
    monkeypatch.setitem(NAMESPACES, "bars", settled)


@pytest.fixture
def write(django_capture_on_commit_callbacks: Any) -> Callable[..., None]:
    """Write bars and commit them."""

    def commit(*bars: Any) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            history.upsert_bars(bars)

    return commit


def read(symbols: str = "AIG", **query: Any) -> tuple[list[str], str | None]:
    """The minutes or days of a page's bars, and its token."""
    asked = BarsQuery(data={**WHOLE_DAY, **query})
    asked.is_valid(raise_exception=True)
    page = bars_page(symbols.split(","), asked.validated_data)
    return [bar["t"] for items in page.items.values() for bar in items], page.next_page_token


def queries_of(job: Callable[[], Any]) -> int:
    """How many of them ask for bars."""
    with CaptureQueriesContext(connection) as queries:
        job()
    return sum(history.BARS in query["sql"] for query in queries)


def test_finished_page_is_read_once_for_all() -> None:
    set_market_time(TOMORROW)
    first = read()
    hits = HITS.labels("bars")._value
    before = hits.get()
    assert len(first[0]) == 60
    assert queries_of(lambda: [read() for _ in range(3)]) == 0
    assert read() == first
    assert hits.get() - before == 4


def test_page_that_reaches_into_the_day_is_read_each_time(write: Callable[..., None]) -> None:
    set_market_time(NOW)
    before, _ = read()
    assert queries_of(read) == 1
    write(minute_bar("AIG", 30, 900_000)._replace(start=OPENED + 60 * -1))
    assert len(read()[0]) == len(before) + 1  # the bar that has just closed


@pytest.mark.parametrize(
    ("timeframe", "end", "is_kept"),
    [
        ("1Day", "2013-10-07", True),
        ("1Day", "2013-10-08", False),  # it runs
        ("1Week", "2013-10-01", True),
        ("1Week", "2013-10-07", False),
        ("1Month", "2013-09-30", True),
        ("1Month", "2013-10-01", False),
        ("1Min", "2013-10-08T03:59:59Z", True),  # the last minute of the day
        ("1Min", "2013-10-08T04:00:00Z", False),
    ],
)
def test_page_is_kept_when_its_last_bar_has_ended(timeframe: str, end: str, is_kept: bool) -> None:
    set_market_time(TOMORROW)
    query = {"timeframe": timeframe, "start": "2013-09-01", "end": end}
    first = read(**query)
    assert (queries_of(lambda: read(**query)) == 0) is is_kept
    assert read(**query) == first


def test_every_question_has_its_own_page() -> None:
    set_market_time(TOMORROW)
    for _ in range(2):
        assert len(read("AIG,IBM")[0]) == 120
        assert len(read("IBM")[0]) == 60
        assert read(sort="desc")[0] == read()[0][::-1]
        assert len(read(start="2013-10-07T13:40:00Z")[0]) == 50
        assert len(read(timeframe="5Min")[0]) == 12
        first, token = read(limit=50)
        rest, end = read(limit=50, page_token=token)
        assert (first + rest, end) == (read()[0], None)


def test_long_pages_are_not_kept() -> None:
    set_market_time(TOMORROW)
    assert queries_of(lambda: [read(limit=finished_bars.BARS_MAX + 1) for _ in range(2)]) == 2


@pytest.mark.parametrize("timeframe", ["1Min", DAY])
def test_correction_of_the_past_is_seen_at_once(write: Callable[..., None], timeframe: str) -> None:
    set_market_time(TOMORROW)
    before, _ = read(timeframe=timeframe)
    late = minute_bar("AIG", 70, 500_000)
    write(late if timeframe == "1Min" else late._replace(timeframe=DAY, start=midnight(TODAY) - 1))
    again, _ = read(timeframe=timeframe, start="2013-10-06T00:00:00Z")
    assert len(again) > len(before)
    assert queries_of(lambda: read(timeframe=timeframe)) == 1


def test_bars_of_the_day_leave_the_past_alone(write: Callable[..., None]) -> None:
    set_market_time(TOMORROW)
    read()
    write(minute_bar("AIG", 24 * 60, 500_000))
    assert queries_of(read) == 0


def test_write_that_is_rolled_back_forgets_nothing() -> None:
    set_market_time(TOMORROW)
    read()
    history.upsert_bars([minute_bar("AIG", 70, 500_000)])  # the test's transaction never commits
    assert queries_of(read) == 0


@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="NO REDIS: set REDIS_URL")
def test_nothing_is_kept_while_a_replica_may_not_know_it(
    write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def settles_in(seconds: float) -> None:
        policy = replace(NAMESPACES["bars"], settle_seconds=seconds)
        monkeypatch.setitem(NAMESPACES, "bars", policy)

    settles_in(60)
    set_market_time(TOMORROW)
    write(minute_bar("AIG", 70, 500_000))
    assert queries_of(lambda: [read() for _ in range(2)]) == 2
    settles_in(0.3)
    eventually(lambda: queries_of(read) == 0, "the time to have settled it")
