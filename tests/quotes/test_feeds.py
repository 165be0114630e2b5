"""The contract of `quotes/feeds/base.py`, held against every feed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from quotes.feeds.alpaca import AlpacaFeed
from quotes.feeds.base import Feed, Tick, tick_order
from quotes.feeds.lean import LeanFeed
from quotes.feeds.simulated import SimulatedFeed
from quotes.feeds.upstream import Upstream
from quotes.models import Exchange
from quotes.ticks import MICROSECONDS, Quote, Trade
from tests.quotes.lean_folder import DAY, write_lean_folder
from tests.quotes.upstream import frames_of, upstream
from tests.waiting import eventually

SECOND = MICROSECONDS
NOON_US = 1_750_000_000 * MICROSECONDS + 123_456

OpenFeed = Callable[[], Feed]


@contextmanager
def fed_by_another() -> Iterator[OpenFeed]:
    """Feeds that have heard the same minute of another server's market."""
    ticks = SimulatedFeed(7, time.time_ns() // 1_000 + 60 * SECOND)
    heard = ticks_until(ticks, until_us(ticks) + 20 * SECOND)
    feeds: list[AlpacaFeed] = []

    def open_feed() -> Feed:
        feed = AlpacaFeed(Upstream(playing.url, "KEY", "secret"), {tick.symbol for tick in heard})
        feeds.append(feed)
        feed.read(0)
        eventually(lambda: len(feed._intake._waiting) == len(heard), "all that was said")
        return feed

    with upstream(lambda attempt: frames_of(heard)) as playing:
        yield open_feed
        for feed in feeds:
            feed.close()


@pytest.fixture(params=["simulated", "lean", "recorded", "alpaca"])
def open_feed(request: pytest.FixtureRequest, tmp_path: Path) -> OpenFeed:
    if request.param == "alpaca":
        return request.getfixturevalue("feed_of_another")
    if request.param == "simulated":
        return lambda: SimulatedFeed(7, NOON_US)
    if request.param == "lean":
        return lambda: LeanFeed(write_lean_folder(tmp_path), DAY)
    folder = request.getfixturevalue("lean_data")
    return lambda: LeanFeed(folder, date(2013, 10, 7))


def ticks_until(feed: Feed, until_us: int, limit: int = 1_000) -> list[Tick]:
    ticks: list[Tick] = []
    while some := feed.read(until_us, limit):
        ticks += some
    return ticks


def until_us(feed: Feed) -> int:
    """Some way into the feed: there are ticks, and more after them."""
    first_us = feed.next_us()
    assert first_us is not None
    return first_us + 40 * SECOND


@pytest.fixture
def feed_of_another() -> Iterator[OpenFeed]:
    with fed_by_another() as open_feed:
        yield open_feed


class TestFeed:
    """What ingest, replay and the engine rely on."""

    def test_describes_what_it_serves(self, open_feed: OpenFeed):
        feed = open_feed()
        specs = feed.instruments()
        symbols = [spec.symbol for spec in specs]
        assert symbols == sorted(set(symbols))
        assert {spec.exchange for spec in specs} <= set(Exchange.values)
        assert {tick.symbol for tick in ticks_until(feed, until_us(feed))} <= set(symbols)
        assert feed.source

    def test_ticks_are_in_order(self, open_feed: OpenFeed):
        feed = open_feed()
        ticks = ticks_until(feed, until_us(feed))
        assert len(ticks) > 10
        assert ticks == sorted(ticks, key=tick_order)
        assert feed.start_us <= ticks[0].at_us

    def test_never_reads_past_the_instant(self, open_feed: OpenFeed):
        feed = open_feed()
        end_us = until_us(feed)
        ticks = ticks_until(feed, end_us)
        assert ticks[-1].at_us <= end_us
        next_us = feed.next_us()
        assert next_us is None or next_us > end_us
        assert feed.read(end_us) == []

    def test_next_instant_consumes_nothing(self, open_feed: OpenFeed):
        feed = open_feed()
        first_us = feed.next_us()
        assert feed.next_us() == first_us
        assert first_us is not None
        assert feed.read(first_us - 1) == []
        assert feed.read(first_us)[0].at_us == first_us

    def test_sequences_count_from_one_without_gaps(self, open_feed: OpenFeed):
        feed = open_feed()
        last: dict[tuple[type, str], int] = {}
        for tick in ticks_until(feed, until_us(feed)):
            key = type(tick), tick.symbol
            assert tick.sequence == last.get(key, 0) + 1
            last[key] = tick.sequence

    def test_the_same_ticks_however_they_are_asked_for(self, open_feed: OpenFeed):
        one, other = open_feed(), open_feed()
        end_us = until_us(one)
        at_once = ticks_until(one, end_us, limit=10**6)
        piecemeal: list[Tick] = []
        for at_us in range(at_once[0].at_us, end_us, 700_001):
            piecemeal += ticks_until(other, at_us, limit=3)
        piecemeal += ticks_until(other, end_us, limit=3)
        assert piecemeal == at_once

    def test_respects_the_limit(self, open_feed: OpenFeed):
        feed = open_feed()
        assert len(feed.read(until_us(feed), 5)) == 5

    def test_every_tick_carries_the_epoch(self, open_feed: OpenFeed):
        feed = open_feed()
        feed.epoch = 3
        assert {tick.epoch for tick in ticks_until(feed, until_us(feed))} == {3}

    def test_skips_to_an_instant(self, open_feed: OpenFeed):
        whole, skipping = open_feed(), open_feed()
        end_us = until_us(whole)
        middle_us = end_us - 20 * SECOND
        expected = [tick for tick in ticks_until(whole, end_us) if tick.at_us >= middle_us]
        skipping.skip_to(middle_us)
        rest = ticks_until(skipping, end_us)
        assert [tick._replace(sequence=0) for tick in rest] == [
            tick._replace(sequence=0) for tick in expected
        ]
        for before, after in pairwise(tick for tick in rest if isinstance(tick, Quote)):
            assert before.at_us <= after.at_us

    def test_prices_and_sizes_are_plausible(self, open_feed: OpenFeed):
        feed = open_feed()
        for tick in ticks_until(feed, until_us(feed)):
            if isinstance(tick, Trade):
                assert tick.price > 0
                assert tick.size > 0
            else:
                assert tick.bid >= 0
                assert tick.ask >= 0
                assert tick.resolution in ("tick", "second", "minute")
