from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby

import pytest
from django.db import IntegrityError, transaction

from quotes import clock, history
from quotes.bars import DAY, MINUTE, merged, midnight
from quotes.calendar import NEW_YORK
from quotes.feeds.base import InstrumentSpec
from quotes.models import Bar as StoredBar
from quotes.models import Instrument
from quotes.ticks import Bar
from quotes.timeframes import parse_timeframe

pytestmark = pytest.mark.django_db

TEN = int(datetime(2013, 10, 7, 10, 0, tzinfo=NEW_YORK).timestamp())
SYMBOLS = ("AIG", "BAC", "IBM")
MINUTES = 150


def bar(symbol: str, timeframe: str, start: int, price: int = 1_000_000, volume: int = 10) -> Bar:
    return Bar(symbol, timeframe, start, price, price + 200, price - 300, price + 100, volume, 3,
               price + 50)  # fmt: skip


def minutes_of(symbol: str, count: int = MINUTES) -> list[Bar]:
    return [bar(symbol, MINUTE, TEN + 60 * n, 1_000_000 + 100 * n, n + 1) for n in range(count)]


@pytest.fixture
def instruments() -> dict[str, int]:
    return history.enlist(InstrumentSpec(symbol) for symbol in SYMBOLS)


@pytest.fixture
def stored(instruments: dict[str, int]) -> dict[str, list[Bar]]:
    """Two and a half hours of minutes per symbol, from ten o'clock."""
    tape = {symbol: minutes_of(symbol) for symbol in SYMBOLS}
    for bars in tape.values():
        history.upsert_bars(bars)
    return tape


def page(length: str = "1Min", symbols=SYMBOLS, start=TEN, end=TEN + 86_400, limit=10_000, **more):
    return history.bars(symbols, parse_timeframe(length), start, end, limit=limit, **more)


def all_pages(limit: int, length: str = "1Min", **more) -> list[Bar]:
    found: list[Bar] = []
    after = None
    while True:
        bars, after = page(length, limit=limit, after=after, **more)
        assert len(bars) <= limit
        found += bars
        if after is None:
            return found


# --- writing ------------------------------------------------------------------------------------


def test_enlisting_again_changes_nothing(instruments: dict[str, int]):
    Instrument.objects.filter(symbol="IBM").update(name="Kept", halted=True)
    assert history.enlist([InstrumentSpec("IBM", "Other")]) == {"IBM": instruments["IBM"]}
    ibm = Instrument.objects.get(symbol="IBM")
    assert (ibm.name, ibm.halted) == ("Kept", True)


def test_a_bar_is_stored_as_it_is(instruments: dict[str, int]):
    assert history.upsert_bars([bar("IBM", DAY, TEN)]) == 1
    found = StoredBar.objects.get(pk=(instruments["IBM"], DAY, TEN))
    assert (found.open, found.high, found.low, found.close) == (
        Decimal("100.0000"),
        Decimal("100.0200"),
        Decimal("99.9700"),
        Decimal("100.0100"),
    )
    assert (found.volume, found.trade_count, found.vwap) == (10, 3, Decimal("100.0050"))


def test_a_newer_bar_replaces_the_one_of_its_key(instruments: dict[str, int]):
    history.upsert_bars([bar("IBM", MINUTE, TEN)])
    history.upsert_bars([bar("IBM", MINUTE, TEN, 2_000_000, 77), bar("IBM", DAY, TEN)])
    assert page(symbols=["IBM"]).bars == [bar("IBM", MINUTE, TEN, 2_000_000, 77)]
    assert StoredBar.objects.count() == 2


def test_bars_of_unknown_symbols_are_left_out(instruments: dict[str, int]):
    assert history.upsert_bars([bar("XYZ", MINUTE, TEN), bar("IBM", MINUTE, TEN)]) == 1


def test_slices_write_everything(instruments: dict[str, int]):
    assert history.upsert_bars(minutes_of("IBM", 25), instruments, rows_per_transaction=10) == 25
    assert len(page().bars) == 25


def test_the_database_refuses_a_bar_out_of_order(instruments: dict[str, int]):
    wrong = bar("IBM", MINUTE, TEN)._replace(high=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        history.upsert_bars([wrong])


# --- ranges -------------------------------------------------------------------------------------


def test_a_range_holds_both_its_ends(stored):
    found = page(symbols=["IBM"], start=TEN + 60, end=TEN + 180).bars
    assert [found_bar.start for found_bar in found] == [TEN + 60, TEN + 120, TEN + 180]
    assert found == stored["IBM"][1:4]


def test_bars_are_ordered_by_symbol_then_time(stored):
    assert page().bars == [*stored["AIG"], *stored["BAC"], *stored["IBM"]]
    assert page(descending=True).bars == [
        *stored["AIG"][::-1],
        *stored["BAC"][::-1],
        *stored["IBM"][::-1],
    ]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 150, 300, 449, 450, 451])
def test_pages_make_the_whole(stored, limit: int, descending: bool):
    # Pages of one are many: they need not be of all.
    span = {"end": TEN + 300} if limit == 1 else {}
    whole = page(descending=descending, **span).bars
    assert all_pages(limit, descending=descending, **span) == whole


def test_the_last_page_has_nothing_after_it(stored):
    assert page(limit=450).after is None
    assert page(limit=449).after == ("IBM", TEN + 60 * 148)
    assert page(symbols=["XYZ"]) == ([], None)
    assert page(start=TEN + 1, end=TEN) == ([], None)


@pytest.mark.parametrize("length", ["5Min", "7Min", "1Hour", "2Hour"])
@pytest.mark.parametrize("descending", [False, True])
def test_long_bars_are_the_aggregate_of_their_minutes(stored, length: str, descending: bool):
    label = parse_timeframe(length).label
    expected = [
        merged(group, length, at)
        for symbol in SYMBOLS
        for at, group in groupby(stored[symbol], key=lambda minute: label(minute.start))
        if at >= TEN
    ]
    if descending:
        expected = sorted(expected, key=lambda each: (each.symbol, -each.start))
    assert page(length, descending=descending).bars == expected
    assert all_pages(2, length, descending=descending) == expected


def test_a_long_bar_counts_when_its_label_is_in_the_range(stored):
    [first, *_] = page("5Min", symbols=["IBM"], start=TEN + 1).bars
    assert first.start == TEN + 300
    [*_, last] = page("5Min", symbols=["IBM"], end=TEN + 300).bars
    assert (last.start, last.volume) == (TEN + 300, 6 + 7 + 8 + 9 + 10)


def test_weeks_and_months_are_made_of_days(instruments: dict[str, int]):
    days = [date(2013, 9, 30) + timedelta(days=n) for n in range(14) if n % 7 < 5]
    history.upsert_bars([bar("IBM", DAY, midnight(day)) for day in days])
    span = {"start": midnight(date(2013, 9, 1)), "end": midnight(date(2013, 12, 1))}
    weeks = page("1Week", **span).bars
    assert [(week.start, week.volume) for week in weeks] == [
        (midnight(date(2013, 9, 30)), 50),
        (midnight(date(2013, 10, 7)), 50),
    ]
    months = page("1Month", **span).bars
    assert [(month.start, month.volume) for month in months] == [
        (midnight(date(2013, 9, 1)), 10),
        (midnight(date(2013, 10, 1)), 90),
    ]


def test_a_long_bar_does_not_know_what_starts_after_until(stored):
    [*_, last] = page("1Hour", symbols=["IBM"], until=TEN + 3600 + 120).bars
    assert last == merged(stored["IBM"][60:63], "1Hour", TEN + 3600)
    assert page(symbols=["IBM"], until=TEN - 1).bars == []


def test_a_page_reads_no_more_than_its_budget(stored, monkeypatch):
    monkeypatch.setattr(history, "ROWS_PER_READ", 20)
    monkeypatch.setattr(history, "ROWS_PER_PAGE_MAX", 40)
    first = page("1Hour", limit=100)
    assert 0 < len(first.bars) < 9
    assert first.after is not None
    assert all_pages(100, "1Hour") == [
        merged(group, "1Hour", at)
        for symbol in SYMBOLS
        for at, group in groupby(stored[symbol], key=lambda minute: minute.start // 3600 * 3600)
    ]


def test_a_page_costs_one_query_per_symbol(stored, django_assert_num_queries):
    with django_assert_num_queries(1 + 3):
        page()


# --- the latest ---------------------------------------------------------------------------------


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_the_latest_minute_bar_is_the_latest_finished_one(stored):
    now = at(TEN + 60 * 10 + 59)
    assert history.latest_minute_bars(["IBM"], now) == {"IBM": stored["IBM"][9]}
    assert history.latest_minute_bars(["IBM"], at(TEN + 60 * 11)) == {"IBM": stored["IBM"][10]}
    assert history.latest_minute_bars(["IBM", "XYZ"], at(TEN + 59)) == {}


def test_snapshots_have_minute_day_and_day_before(stored):
    today, before = midnight(date(2013, 10, 7)), midnight(date(2013, 10, 4))
    history.upsert_bars([bar("IBM", DAY, today), bar("IBM", DAY, before), bar("AIG", DAY, today)])
    history.upsert_bars([bar("IBM", DAY, midnight(date(2013, 10, 3)))])
    found = history.snapshot_bars([*SYMBOLS, "XYZ"], at(TEN + 90))
    minute = stored["IBM"][0]
    assert found["IBM"] == (minute, bar("IBM", DAY, today), bar("IBM", DAY, before))
    assert found["AIG"][1:] == (bar("AIG", DAY, today), None)
    assert found["BAC"][1:] == (None, None)
    assert found["XYZ"] == (None, None, None)


def test_latest_bars_cost_the_same_for_any_number_of_symbols(stored, django_assert_num_queries):
    with django_assert_num_queries(2):
        history.snapshot_bars(SYMBOLS, at(TEN + 90))


@pytest.fixture
def daily(instruments: dict[str, int]):
    clock.forget_clock()
    history.upsert_bars(
        [
            bar("IBM", DAY, midnight(date(2013, 10, day)), 1_000_000 * day)
            for day in (3, 4, 7)
        ]
    )  # fmt: skip
    return instruments["IBM"]


@pytest.mark.parametrize(
    ("now", "close"),
    [
        ("2013-10-07 10:00", "400.01"),  # a Monday: Friday's
        ("2013-10-06 12:00", "400.01"),
        ("2013-10-04 10:00", "300.01"),
        ("2013-10-07 19:59", "400.01"),
        ("2013-10-07 20:00", "700.01"),  # the overnight session belongs to Tuesday
    ],
)
def test_previous_close_is_that_of_the_trading_day_before(daily: int, now: str, close: str):
    instant = datetime.fromisoformat(now).replace(tzinfo=NEW_YORK)
    assert history.previous_close([daily], instant) == {daily: Decimal(close)}


def test_without_history_there_is_no_previous_close(daily: int, instruments: dict[str, int]):
    early = datetime(2013, 10, 2, 12, tzinfo=NEW_YORK)
    assert history.previous_close([daily, instruments["AIG"]], early) == {}
    assert history.previous_close([], early) == {}
