"""What the feed writes, and that only its owner writes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events import leases, models
from events.leases import Lease, LeaseLost
from events.models import Event
from quotes import market
from quotes.calendar import EXCHANGE
from quotes.clock import Clock
from quotes.feeds.base import InstrumentSpec
from quotes.ingest import recorder as recorder_module
from quotes.ingest.recorder import ROWS_PER_TRANSACTION, Heard, Recorder, open_bars
from quotes.latest import Latest, rows
from quotes.models import Bar as StoredBar
from quotes.models import LatestQuote, MarketClock
from quotes.ticks import Bar
from tests.quotes.memory_feed import MINUTE, SECOND, START_US, quote, trade

pytestmark = pytest.mark.django_db


@pytest.fixture
def lease(db: None) -> Lease:
    market.open_market(
        mode="replay",
        source="memory",
        start_us=START_US,
        instruments=[InstrumentSpec("AAPL"), InstrumentSpec("MSFT")],
    )
    owned = leases.acquire("feed:0")
    assert owned is not None
    return owned


@pytest.fixture
def recorder(lease: Lease) -> Recorder:
    return Recorder(lease)


def heard(*bars: Bar) -> Heard:
    heard = Heard()
    heard.add_bars(bars)
    heard.quotes["AAPL"] = quote(1)
    heard.trades["AAPL"] = trade(1)
    return heard


def minute_bar(start_us: int = START_US, close: int = 3) -> Bar:
    return Bar("AAPL", "1Min", start_us // SECOND, 2, 4, 1, close, 100, 5, 3)


def take_over() -> None:
    models.Lease.objects.update(epoch=99, owner="another")


def test_time_is_kept_and_reserved_ahead(recorder: Recorder) -> None:
    recorder.keep_time(START_US + 5, 1000)
    row = MarketClock.objects.get()
    assert (row.watermark_us, row.reserved_us) == (START_US + 5, START_US + 1005)


def test_neither_watermark_nor_reservation_goes_back(recorder: Recorder) -> None:
    recorder.keep_time(START_US + 50, 1000)
    row = recorder.keep_time(START_US + 5, 0)
    assert (row.watermark_us, row.reserved_us) == (START_US + 50, START_US + 1050)


def test_jump_is_reserved_whole(recorder: Recorder) -> None:
    MarketClock.objects.update(advance_to_us=START_US + MINUTE)
    assert recorder.keep_time(START_US, 10).reserved_us == START_US + MINUTE


def test_what_operators_write_stays(recorder: Recorder) -> None:
    MarketClock.objects.update(speed=60.0, paused=True, settled_us=START_US + 3)
    row = recorder.keep_time(START_US + 1, 10)
    assert (row.speed, row.paused, row.settled_us) == (60.0, True, START_US + 3)


def test_start_after_a_crash_goes_on_from_the_reservation_and_records_the_gap(
    recorder: Recorder,
) -> None:
    recorder.keep_time(START_US + 5 * SECOND, 60 * SECOND)

    row = recorder.begin()

    assert row.watermark_us == START_US + 65 * SECOND
    gap = Event.objects.get(kind="quotes.feed.gap").payload
    assert (gap["from"], gap["to"]) == ("2013-10-07T13:00:05+00:00", "2013-10-07T13:01:05+00:00")


def test_start_after_a_clean_stop_has_no_gap(recorder: Recorder) -> None:
    recorder.keep_time(START_US + 5, 1000)
    recorder.stop_at(START_US + 7)
    assert recorder.begin().watermark_us == START_US + 7
    assert not Event.objects.filter(kind="quotes.feed.gap").exists()


def test_only_a_feed_that_hears_its_source_gives_a_sign_of_life(recorder: Recorder) -> None:
    """The source fell silent an hour ago: quotes stay stale for all who read the clock's row."""
    MarketClock.objects.update(updated_at=datetime.now(UTC) - timedelta(hours=1))
    recorder.begin()
    recorder.keep_time(START_US + 5, 0, is_live=False)
    recorder.stop_at(START_US + 5)
    read_anew = Clock()
    assert read_anew.feed_is_silent()

    recorder.keep_time(START_US + 7, 0)
    read_anew.refresh()
    assert not read_anew.feed_is_silent()


def test_market_on_wall_time_goes_on_now(recorder: Recorder) -> None:
    recorder.keep_time(START_US + 5, 0)
    assert recorder.begin(START_US + MINUTE).watermark_us == START_US + MINUTE
    assert Event.objects.filter(kind="quotes.feed.gap").count() == 1


def test_bars_and_quotes_are_written_and_written_over(recorder: Recorder) -> None:
    recorder.keep(heard(minute_bar(close=3)))
    recorder.keep(heard(minute_bar(close=4)))

    assert [int(bar.close * 10_000) for bar in StoredBar.objects.all()] == [4]
    known = rows.load(["AAPL"])["AAPL"]
    assert known == Latest(quote(1), trade(1))


def test_half_known_symbol_keeps_its_other_half(recorder: Recorder) -> None:
    recorder.keep(heard())
    later = Heard()
    later.quotes["AAPL"] = quote(9, 1_000_900)._replace(sequence=2)

    recorder.keep(later)

    assert rows.load(["AAPL"])["AAPL"] == Latest(later.quotes["AAPL"], trade(1))


def test_large_batches_are_written_in_slices(recorder: Recorder) -> None:
    bars = [minute_bar(START_US + n * MINUTE) for n in range(2 * ROWS_PER_TRANSACTION + 1)]
    with CaptureQueriesContext(connection) as queries:
        recorder.keep(heard(*bars))
    checks = [
        query for query in queries if query["sql"].startswith("UPDATE") and "epoch" in query["sql"]
    ]
    assert len(checks) == 3 + 1
    assert StoredBar.objects.count() == len(bars)


@pytest.mark.parametrize(
    "write",
    [
        lambda recorder: recorder.keep_time(START_US + 5, 10),
        lambda recorder: recorder.keep(heard(minute_bar())),
        lambda recorder: recorder.begin(START_US + MINUTE),
        lambda recorder: recorder.stop_at(START_US + 5),
    ],
)
def test_former_owner_writes_nothing(
    recorder: Recorder, write: Callable[[Recorder], object]
) -> None:
    take_over()
    with pytest.raises(LeaseLost):
        write(recorder)
    assert MarketClock.objects.get().watermark_us == START_US
    assert not StoredBar.objects.exists()
    assert not LatestQuote.objects.exists()


def test_a_bar_that_was_withdrawn_is_removed_and_comes_back(recorder: Recorder) -> None:
    bar, other = minute_bar(), minute_bar(START_US - MINUTE)
    recorder.keep(heard(bar, other))
    recorder.keep(heard(bar._replace(volume=0, trade_count=0), bar._replace(timeframe="1Day")))

    left = StoredBar.objects.values_list("timeframe", "start")
    assert sorted(left) == [("1Day", bar.start), ("1Min", other.start)]

    recorder.keep(heard(bar))
    assert StoredBar.objects.filter(timeframe="1Min").count() == 2


def test_open_bars_are_those_that_may_still_change(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "BARS_PER_PAGE", 2)
    midnight = START_US // SECOND - 9 * 3600
    day = minute_bar()._replace(timeframe="1Day", start=midnight)
    yesterday = day._replace(start=midnight - 86_400)
    minutes = [minute_bar(START_US - minutes * MINUTE) for minutes in (20, 15, 1, 0)]
    future, other = minute_bar(START_US + MINUTE), minute_bar()._replace(symbol="MSFT")
    recorder.keep(heard(*minutes, future, other, day, yesterday))

    found = open_bars(["AAPL", "MSFT"], START_US + 30 * SECOND, EXCHANGE)

    assert found == [*minutes[1:], other, day]
