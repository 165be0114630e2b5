import zipfile
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.calendar import EXCHANGE, NEW_YORK, ROUND_THE_CLOCK, Calendar, Session

CALENDARS = [EXCHANGE, ROUND_THE_CLOCK]


def new_york(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


@pytest.mark.parametrize(
    "closed_on",
    [
        "2012-10-29",  # Hurricane Sandy
        "2012-10-30",
        "2013-03-29",  # Good Friday
        "2015-07-03",  # Independence Day on a Saturday
        "2018-12-05",  # mourning for George H. W. Bush
        "2021-12-24",  # Christmas on a Saturday
        "2022-06-20",  # Juneteenth, on a Sunday
        "2023-01-02",  # New Year's Day on a Sunday
        "2024-06-19",
        "2025-01-09",  # mourning for Jimmy Carter
        "2013-10-05",  # a Saturday
    ],
)
def test_exchange_is_closed(closed_on: str):
    assert EXCHANGE.day(date.fromisoformat(closed_on)) is None


@pytest.mark.parametrize(
    "open_on",
    [
        "2013-10-07",
        "2021-12-31",  # New Year's Day on a Saturday closes no Friday
        "2021-06-18",  # Juneteenth is kept since 2022
        "2013-10-14",  # Columbus Day
    ],
)
def test_exchange_is_open(open_on: str):
    assert EXCHANGE.day(date.fromisoformat(open_on)) is not None


@pytest.mark.parametrize(
    ("year", "trading_days", "early"),
    [
        (2013, 252, ["07-03", "11-29", "12-24"]),
        (2015, 252, ["11-27", "12-24"]),
        (2016, 252, ["11-25"]),
        (2018, 251, ["07-03", "11-23", "12-24"]),
        (2020, 253, ["11-27", "12-24"]),
        (2023, 250, ["07-03", "11-24"]),
        (2024, 252, ["07-03", "11-29", "12-24"]),
        (2026, 251, ["11-27", "12-24"]),
    ],
)
def test_year_matches_published_list(year: int, trading_days: int, early: list[str]):
    days = EXCHANGE.days(date(year, 1, 1), date(year, 12, 31))
    assert len(days) == trading_days
    early_days = [day for day in days if day.early]
    assert [f"{day.date:%m-%d}" for day in early_days] == early
    assert {f"{day.close_at.astimezone(NEW_YORK):%H:%M}" for day in early_days} <= {"13:00"}


def test_days_are_those_on_which_spy_traded(lean_data: Path):
    with zipfile.ZipFile(lean_data / "equity/usa/daily/spy.zip") as archive:
        rows = archive.read("spy.csv").decode().splitlines()
    traded = [datetime.strptime(row[:8], "%Y%m%d").replace(tzinfo=UTC).date() for row in rows]
    assert [day.date for day in EXCHANGE.days(traded[0], traded[-1])] == traded


@pytest.mark.parametrize(
    ("instant", "session"),
    [
        ("2013-10-06 19:59:59", Session.CLOSED),  # a Sunday
        ("2013-10-06 20:00", Session.OVERNIGHT),
        ("2013-10-07 03:59:59.999999", Session.OVERNIGHT),
        ("2013-10-07 04:00", Session.PRE),
        ("2013-10-07 09:30", Session.REGULAR),
        ("2013-10-07 15:59:59.999999", Session.REGULAR),
        ("2013-10-07 16:00", Session.AFTER),
        ("2013-10-07 20:00", Session.OVERNIGHT),
        ("2013-10-04 20:00", Session.CLOSED),  # a Friday
        ("2013-11-29 13:00", Session.AFTER),  # an early day
        ("2013-11-29 17:00", Session.CLOSED),
        ("2018-12-04 21:00", Session.CLOSED),  # the evening before a mourning
        ("2018-12-05 20:00", Session.OVERNIGHT),
        ("2013-12-31 21:00", Session.CLOSED),
        ("2014-01-01 20:00", Session.OVERNIGHT),
    ],
)
def test_session_of_an_instant(instant: str, session: Session):
    assert EXCHANGE.session_at(new_york(instant)) is session


@pytest.mark.parametrize(
    ("on", "opens"),
    [("2024-03-08", 14), ("2024-03-11", 13), ("2024-11-01", 13), ("2024-11-04", 14)],
)
def test_opening_follows_daylight_saving(on: str, opens: int):
    day = EXCHANGE.day(date.fromisoformat(on))
    assert day is not None
    assert day.open_at == datetime.fromisoformat(f"{on} {opens}:30:00+00:00")


def test_next_open_and_close_while_open_closed_and_between_years():
    noon = new_york("2013-10-04 12:00")
    assert EXCHANGE.next_close(noon) == new_york("2013-10-04 16:00")
    assert EXCHANGE.next_open(noon) == new_york("2013-10-07 09:30")
    silvester = new_york("2013-12-31 18:00")
    assert EXCHANGE.next_open(silvester) == new_york("2014-01-02 09:30")
    assert EXCHANGE.next_close(silvester) == new_york("2014-01-02 16:00")
    at_open = new_york("2013-10-07 09:30")
    assert EXCHANGE.next_open(at_open) == new_york("2013-10-08 09:30")


def test_trading_date_of_an_evening_is_the_next_day():
    assert EXCHANGE.trading_date(new_york("2013-10-07 19:59")) == date(2013, 10, 7)
    assert EXCHANGE.trading_date(new_york("2013-10-07 20:00")) == date(2013, 10, 8)
    assert EXCHANGE.trading_date(new_york("2013-10-05 12:00")) == date(2013, 10, 7)


def test_previous_day_skips_closures():
    assert EXCHANGE.previous_day(date(2012, 10, 31)).date == date(2012, 10, 26)
    assert EXCHANGE.previous_day(date(2014, 1, 2)).date == date(2013, 12, 31)


@pytest.mark.parametrize(
    ("traded_on", "settles_on"),
    [
        ("2013-10-07", "2013-10-10"),
        ("2017-09-01", "2017-09-07"),  # the last day of T+3, before Labor Day
        ("2017-09-05", "2017-09-07"),
        ("2024-05-24", "2024-05-29"),  # the last day of T+2, before Memorial Day
        ("2024-05-28", "2024-05-29"),
        ("2024-07-03", "2024-07-05"),
    ],
)
def test_settlement_follows_the_cycle_in_force(traded_on: str, settles_on: str):
    assert EXCHANGE.settlement_date(date.fromisoformat(traded_on)) == date.fromisoformat(settles_on)


def test_round_the_clock_is_one_session_from_midnight_to_midnight():
    sunday = ROUND_THE_CLOCK.day(date(2024, 3, 10))
    assert sunday is not None
    assert sunday.open_at == new_york("2024-03-10 00:00")
    assert sunday.close_at - sunday.open_at == timedelta(hours=23)  # the clock jumps that night
    assert ROUND_THE_CLOCK.session_at(sunday.close_at) is Session.REGULAR
    assert ROUND_THE_CLOCK.trading_date(sunday.close_at) == date(2024, 3, 11)
    assert ROUND_THE_CLOCK.next_close(sunday.open_at) == sunday.close_at


def test_calendar_ends_with_an_error_not_with_a_search():
    assert EXCHANGE.days(date(1, 1, 1), date(1969, 12, 31)) == []
    assert EXCHANGE.day(date(9999, 12, 31)) is None
    with pytest.raises(LookupError):
        EXCHANGE.next_open(datetime(2150, 1, 1, tzinfo=UTC))
    with pytest.raises(LookupError):
        EXCHANGE.previous_day(date(1970, 1, 2))


@pytest.mark.parametrize("calendar", CALENDARS)
@given(seconds=st.integers(min_value=5 * 86_400, max_value=128 * 365 * 86_400))
def test_answers_agree_with_each_other(calendar, seconds: int):
    instant = datetime.fromtimestamp(seconds, UTC)
    day = calendar.current_day(instant)
    session = calendar.session_at(instant)
    assert instant < day.after_at
    assert calendar.previous_day(day.date).after_at <= instant
    assert (day.open_at <= instant < day.close_at) == (session is Session.REGULAR)
    assert calendar.next_open(instant) > instant
    assert calendar.next_close(instant) > instant
    if session is Session.REGULAR:
        assert calendar.next_close(instant) == day.close_at
        assert calendar.next_close(instant) <= calendar.next_open(instant)


@pytest.mark.parametrize("calendar", CALENDARS)
def test_days_never_overlap(calendar):
    days = calendar.days(date(1970, 1, 1), date(2029, 12, 31))
    for before, after in pairwise(days):
        assert before.open_at < before.close_at <= before.after_at <= after.overnight_at
        assert after.overnight_at <= after.pre_at <= after.open_at


@pytest.mark.parametrize("calendar", CALENDARS)
@given(
    st.lists(
        st.timedeltas(timedelta(0), timedelta(days=385)).map(
            lambda later: new_york("2012-12-20").astimezone(UTC) + later
        ),
        min_size=2,
    )
)
def test_what_was_asked_before_changes_no_answer(
    calendar: Calendar, instants: list[datetime]
) -> None:
    answers = [calendar.current_day(each) for each in instants]
    for instant, answer in zip(instants, answers, strict=True):
        calendar._latest = None
        assert calendar.current_day(instant) == answer
