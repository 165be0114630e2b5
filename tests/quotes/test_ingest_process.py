"""The feed process as it is run: threads, lease, restarts, and a database beside."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.db import OperationalError, connection

from events import leases, models
from events.leases import DatabaseTime
from events.models import Event
from quotes import corporate_actions, halts, history, latest, market
from quotes.corporate_actions import announce_split
from quotes.feeds.base import FeedError
from quotes.ingest import configured_feed, process, run_feed
from quotes.models import Bar, LatestQuote, MarketClock
from quotes.streaming.bus import bus
from quotes.ticks import MICROSECONDS, to_micros
from tests.quotes.lean_folder import write_lean_folder
from tests.waiting import PATIENCE_SECONDS, eventually

NINE = datetime(2013, 10, 7, 13, tzinfo=UTC)  # nine in New York, where the folder's ticks begin
NINE_US = to_micros(NINE)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def recording(settings: Any, tmp_path: Path) -> Any:
    """Settings that name a minute and a half of recorded market."""
    settings.FEED = "lean"
    settings.FEED_DATA = str(write_lean_folder(tmp_path))
    settings.FEED_DATE = "2013-10-07"
    settings.FEED_STEPPED = True
    settings.FEED_SPEED = 1000.0
    return settings


@pytest.fixture(autouse=True)
def patient_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a second or two makes no feed another's."""
    monkeypatch.setattr(leases, "EXPIRE_SECONDS", 600.0)


@contextmanager
def running() -> Iterator[threading.Thread]:
    stop = threading.Event()
    thread = threading.Thread(target=run_feed, args=(stop,))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def row() -> MarketClock:
    return MarketClock.objects.get(pk=1)


def is_open() -> bool:
    return MarketClock.objects.exists()


def play_to(at: datetime) -> None:
    market.begin_advance(to=at, actor="operator:1")
    eventually(lambda: row().watermark_us == to_micros(at))


def test_stepped_day_is_played_and_written(recording: Any) -> None:
    with running():
        eventually(is_open)
        play_to(NINE + timedelta(seconds=30))
        play_to(NINE + timedelta(minutes=5))

    minutes = Bar.objects.filter(instrument__symbol="TICKY", timeframe="1Min").order_by("start")
    assert [(bar.start - NINE_US // MICROSECONDS, bar.volume) for bar in minutes] == [
        (0, 6_000),
        (60, 3_000),
    ]
    last = LatestQuote.objects.get(instrument__symbol="TICKY")
    assert last.quote_at_us == NINE_US + 89 * MICROSECONDS
    assert last.trade_at_us == NINE_US + 89 * MICROSECONDS
    assert latest.get("TICKY").quote is not None
    assert row().reserved_us == row().watermark_us, "nothing stays reserved after a clean stop"


def test_restart_goes_on_where_it_stopped_and_finishes_the_open_bar(recording: Any) -> None:
    with running():
        eventually(is_open)
        play_to(NINE + timedelta(seconds=29.5))
    with running():
        play_to(NINE + timedelta(minutes=5))

    bar = Bar.objects.get(instrument__symbol="TICKY", start=NINE_US // MICROSECONDS)
    assert (bar.volume, bar.trade_count) == (6_000, 60)
    assert LatestQuote.objects.get(instrument__symbol="TICKY").epoch == 2
    assert not Event.objects.filter(kind="quotes.feed.gap").exists()


def test_restart_after_a_crash_skips_what_was_reserved(recording: Any) -> None:
    with running():
        eventually(is_open)
        play_to(NINE + timedelta(seconds=9.5))
    crashed_at = NINE + timedelta(seconds=39.5)
    MarketClock.objects.update(reserved_us=to_micros(crashed_at))

    with running():
        eventually(lambda: row().watermark_us >= to_micros(crashed_at))
        play_to(NINE + timedelta(minutes=5))

    bar = Bar.objects.get(instrument__symbol="TICKY", start=NINE_US // MICROSECONDS)
    assert bar.trade_count == 10 + 20
    assert Event.objects.filter(kind="quotes.feed.gap").count() == 1


def test_simulated_prices_split_as_announced_also_after_a_restart(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = datetime(2026, 3, 5, 5, tzinfo=UTC)  # in New York
    begun = midnight - timedelta(seconds=10)
    settings.FEED, settings.FEED_SEED, settings.FEED_STEPPED = "simulated", 7, True
    monkeypatch.setattr(process, "_simulation_start_us", lambda: to_micros(begun))
    monkeypatch.setattr(corporate_actions, "LEAD", timedelta(seconds=1))

    def bid_at(at: datetime) -> int:
        play_to(at)
        quote = latest.get("AAPL").quote
        assert quote is not None
        return quote.bid

    with running():
        eventually(is_open)
        before = bid_at(begun + timedelta(seconds=8))
        announce_split(
            symbol="AAPL", new_shares=4, old_shares=1, ex_on=date(2026, 3, 5), actor="operator:1"
        )
        after = bid_at(midnight + timedelta(seconds=5))
    with running():
        later = bid_at(midnight + timedelta(seconds=10))
    assert [before / after, before / later] == pytest.approx([4, 4], rel=0.01)
    # Nor has the first second after the restart a trade at an old price.
    bar = Bar.objects.get(
        instrument__symbol="AAPL", timeframe="1Min", start=to_micros(midnight) // MICROSECONDS
    )
    assert bar.high / bar.low < 1.05


def sign_of_life() -> MarketClock:
    """The clock's row when the feed has said once more that it is there."""
    before = row()
    eventually(lambda: row().updated_at > before.updated_at, "a sign of life")
    return row()


def stands() -> bool:
    """Whether market time stands still."""
    return sign_of_life().watermark_us == sign_of_life().watermark_us


def test_replay_is_paused_and_goes_on(recording: Any) -> None:
    recording.FEED_STEPPED = False
    with running():
        eventually(is_open)
        market.pause(actor="operator:1")
        eventually(stands, "the pause")
        paused_us = row().watermark_us
        assert {sign_of_life().watermark_us for _ in range(3)} == {paused_us}

        market.jump(to=NINE + timedelta(seconds=30), actor="operator:1")
        eventually(lambda: row().watermark_us == NINE_US + 30 * MICROSECONDS, "the jump")
        market.resume(actor="operator:1")
        eventually(lambda: row().watermark_us > NINE_US + 300 * MICROSECONDS, "time to go on")

    assert Bar.objects.filter(instrument__symbol="TICKY", timeframe="1Min").count() == 2


def test_standby_takes_over_with_a_higher_epoch(recording: Any) -> None:
    with running():
        eventually(is_open)
        play_to(NINE + timedelta(seconds=10))
        with running():
            time.sleep(0.3)
            assert models.Lease.objects.get(name="feed:0").epoch == 1
            models.Lease.objects.update(epoch=5, owner="a third", expires_at=DatabaseTime(-1))
            eventually(lambda: models.Lease.objects.get(name="feed:0").epoch == 6)
            play_to(NINE + timedelta(seconds=20))
    assert latest.rows.load(["TICKY"])["TICKY"].quote.epoch >= 6


def test_simulated_market_runs_on_wall_time(settings: Any) -> None:
    settings.FEED, settings.FEED_SEED, settings.FEED_STEPPED = "simulated", 3, False
    with running():
        eventually(lambda: LatestQuote.objects.filter(quote_at_us__gt=0).count() > 20)
        now_us = datetime.now(UTC).timestamp() * MICROSECONDS
        eventually(lambda: row().watermark_us > now_us)
    assert (row().mode, row().source) == ("simulated", "simulated-3")
    assert history.instrument_ids(["AAPL"])


def test_another_recording_on_the_same_database_is_refused_in_words(
    recording: Any, caplog: pytest.LogCaptureFixture
) -> None:
    market.open_market(mode="simulated", source="simulated-1", start_us=NINE_US)
    with running():
        eventually(lambda: "this database holds the market simulated-1" in caplog.text)
    assert row().source == "simulated-1"


def test_missing_recording_is_named(recording: Any) -> None:
    recording.FEED_DATE = "2013-10-08"
    with pytest.raises(FeedError, match="2013-10-08"):
        configured_feed()


def test_stepped_simulation_begins_with_its_day(settings: Any) -> None:
    settings.FEED, settings.FEED_STEPPED, settings.FEED_DATE = "simulated", True, "2013-10-07"
    feed, mode = configured_feed()
    assert mode == "stepped"
    assert feed.start_us == to_micros(datetime(2013, 10, 7, 4, tzinfo=UTC))
    connection.close()


async def test_halts_that_cannot_be_written_are_tried_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not at each turn: the market goes on meanwhile."""
    tried: list[Any] = []

    def fail_once(halted: Any) -> None:
        tried.append(dict(halted))
        if len(tried) == 1:
            raise OperationalError("away")

    news = [{"AIG": (True, "news")}]
    ingest: Any = SimpleNamespace(take_halts=lambda: news.pop() if news else {})
    monkeypatch.setattr(halts, "follow", fail_once)
    monkeypatch.setattr(process, "RETRY_SECONDS", 1_000)
    with ThreadPoolExecutor(1) as writer:
        player = process.Player(ingest, process.Desk(writer, cast(Any, None)), bus())
        for _ in range(3):
            await player._follow_halts()
        assert len(tried) == 1
        monkeypatch.setattr(process, "RETRY_SECONDS", 0)
        for _ in range(3):
            await player._follow_halts()

    assert tried == [{"AIG": (True, "news")}] * 2
