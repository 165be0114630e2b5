"""What time it is in the market, and that it never runs backwards."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from quotes.calendar import EXCHANGE, ROUND_THE_CLOCK, Session
from quotes.clock import REREAD_SECONDS, SILENT_SECONDS, Clock, forget_clock, market_clock
from quotes.models import MarketClock
from quotes.ticks import to_micros

OPENED = datetime(2013, 10, 7, 8, tzinfo=UTC)
OPENED_US = to_micros(OPENED)
WALL = datetime(2026, 3, 3, 15, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@dataclass
class Time:
    """Wall and monotonic time of a test."""

    wall: float = WALL.timestamp()
    monotonic: float = 1000.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def clock(time: Time) -> Clock:
    return Clock(lambda: time.wall, lambda: time.monotonic)


def opened(mode: str, source: str = "lean-2013-10-07", **fields: object) -> MarketClock:
    row = {"mode": mode, "source": source, "opened_us": OPENED_US, "watermark_us": OPENED_US}
    return MarketClock.objects.create(**(row | fields))


def test_without_a_market_it_is_wall_time_on_the_exchange(clock: Clock) -> None:
    assert clock.now() == WALL
    assert clock.calendar is EXCHANGE
    assert clock.source == ""


def test_market_opened_later_is_noticed(clock: Clock, time: Time) -> None:
    assert clock.now() == WALL
    opened("replay")
    time.pass_(REREAD_SECONDS)
    assert clock.now() == OPENED


@pytest.mark.parametrize("mode", ["live", "simulated"])
def test_live_and_simulated_run_on_wall_time(clock: Clock, time: Time, mode: str) -> None:
    opened(mode)
    time.pass_(3.25)
    assert clock.now() == WALL + timedelta(seconds=3.25)
    assert clock.mode == mode


def test_wall_clock_that_is_set_back_stands_still(clock: Clock, time: Time) -> None:
    opened("simulated", "simulated-1")
    clock.now()
    time.wall -= 10
    assert clock.now() == WALL


@pytest.mark.parametrize("mode", ["replay", "stepped"])
def test_replay_goes_by_the_watermark_it_hears(clock: Clock, time: Time, mode: str) -> None:
    opened(mode)
    clock.refresh()
    time.pass_(100.0)
    clock.observe(OPENED_US + 5)
    assert clock.now_us() == OPENED_US + 5
    clock.observe(OPENED_US + 2)
    assert clock.now_us() == OPENED_US + 5


def test_process_that_hears_nothing_reads_the_row(clock: Clock, time: Time) -> None:
    row = opened("replay")
    assert clock.now() == OPENED
    row.watermark_us += 7
    row.save()

    assert clock.now_us() == OPENED_US, "not before it is old"
    time.pass_(REREAD_SECONDS)
    assert clock.now_us() == OPENED_US + 7


def test_row_that_is_behind_what_was_heard_changes_nothing(clock: Clock) -> None:
    opened("replay")
    clock.refresh()
    clock.observe(OPENED_US + 9)
    clock.refresh()
    assert clock.now_us() == OPENED_US + 9


def test_hearing_batches_costs_no_queries(clock: Clock, time: Time) -> None:
    opened("replay")
    clock.refresh()
    with CaptureQueriesContext(connection) as queries:
        for n in range(20):
            time.pass_(0.2)
            clock.observe(OPENED_US + n)
            clock.now()
    assert len(queries) == 0


async def test_event_loop_makes_no_queries(clock: Clock, time: Time) -> None:
    clock.follow(MarketClock(mode="replay", source="s", watermark_us=7, updated_at=WALL))
    time.pass_(3600)
    assert clock.now_us() == 7
    assert clock.speed == 1.0
    assert clock.feed_is_silent()


def test_another_market_starts_another_run_of_time(clock: Clock) -> None:
    row = opened("replay")
    clock.refresh()
    clock.observe(OPENED_US + 10**9)
    row.opened_us = row.watermark_us = OPENED_US - 10**9
    row.source = "lean-2013-10-04"
    clock.follow(row)
    assert clock.now_us() == OPENED_US - 10**9


def test_speed_and_pause_follow_the_row(clock: Clock, time: Time) -> None:
    row = opened("replay", speed=60.0)
    assert (clock.speed, clock.paused) == (60.0, False)
    row.speed, row.paused = 10.0, True
    row.save()
    time.pass_(REREAD_SECONDS)
    assert (clock.speed, clock.paused) == (10.0, True)


def test_simulated_market_trades_around_the_clock(clock: Clock) -> None:
    opened("stepped", "simulated-1")
    clock.refresh()
    assert clock.calendar is ROUND_THE_CLOCK
    assert clock.is_open()


def test_calendar_is_the_market_s_for_who_never_asked_the_time(clock: Clock) -> None:
    opened("simulated", "simulated-1")
    assert clock.calendar is ROUND_THE_CLOCK


def test_session_is_that_of_market_time(clock: Clock) -> None:
    opened("replay")
    clock.refresh()
    assert clock.session() is Session.PRE
    assert not clock.is_open()
    clock.observe(to_micros(datetime(2013, 10, 7, 13, 30, tzinfo=UTC)))
    assert clock.session() is Session.REGULAR
    assert clock.is_open()


def test_feed_is_silent_after_five_seconds_without_a_batch(clock: Clock, time: Time) -> None:
    opened("replay")
    MarketClock.objects.update(updated_at=WALL)
    clock.heard()
    assert not clock.feed_is_silent()
    time.pass_(SILENT_SECONDS + 0.1)
    assert clock.feed_is_silent()
    clock.heard()
    assert not clock.feed_is_silent()


def test_feed_that_writes_its_row_is_not_silent(clock: Clock, time: Time) -> None:
    opened("replay")
    time.pass_(60.0)
    MarketClock.objects.update(updated_at=WALL + timedelta(seconds=58))
    assert not clock.feed_is_silent()


def test_market_never_opened_is_silent(clock: Clock) -> None:
    assert clock.feed_is_silent()


def test_threads_share_one_clock() -> None:
    forget_clock()
    assert market_clock() is market_clock()
    assert asyncio.run(_clock_of_a_loop()) is market_clock()


async def _clock_of_a_loop() -> Clock:
    return market_clock()
