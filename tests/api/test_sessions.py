"""The market clock and the calendar, as alpaca-py reads them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from alpaca.trading.models import Calendar, Clock
from django.test import Client

from quotes.clock import market_clock
from quotes.models import MarketClock
from tests.api import recording
from tests.people import a_trader
from tests.portfolios.market import set_market_time

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    set_market_time(recording.NOW)
    return a_trader().client()


def days(client: Client, query: str) -> list[dict[str, Any]]:
    answer = client.get(f"/v2/calendar?{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_clock_of_an_open_market_closes_before_it_opens(client: Client) -> None:
    clock = Clock(**client.get("/v2/clock").json())

    assert clock.is_open
    assert clock.timestamp == recording.NOW
    assert clock.next_close == datetime(2013, 10, 7, 20, tzinfo=UTC)
    assert clock.next_open == datetime(2013, 10, 8, 13, 30, tzinfo=UTC)


def test_clock_of_a_closed_market_opens_before_it_closes(client: Client) -> None:
    set_market_time(datetime(2013, 10, 11, 23, tzinfo=UTC))

    clock = Clock(**client.get("/v2/clock").json())

    assert not clock.is_open
    assert clock.next_open == datetime(2013, 10, 14, 13, 30, tzinfo=UTC)
    assert clock.next_close == datetime(2013, 10, 14, 20, tzinfo=UTC)


def test_clock_carries_eastern_offsets(client: Client) -> None:
    assert all(client.get("/v2/clock").json()[name].endswith("-04:00") for name in
               ("timestamp", "next_open", "next_close"))  # fmt: skip


def test_calendar_knows_half_days_and_holidays(client: Client) -> None:
    found = days(client, "start=2013-11-27&end=2013-11-29")

    assert [day["date"] for day in found] == ["2013-11-27", "2013-11-29"]
    assert found[1] == {
        "date": "2013-11-29",
        "open": "09:30",
        "close": "13:00",
        "session_open": "0400",
        "session_close": "1700",
        "settlement_date": "2013-12-04",
    }
    assert Calendar(**found[1]).close == datetime(2013, 11, 29, 13)  # noqa: DTZ001  its own way


def test_calendar_takes_timestamps_for_dates(client: Client) -> None:
    found = days(client, "start=2025-03-05T00:00:00.000Z&end=2025-03-05T23:59:59Z")

    assert [day["date"] for day in found] == ["2025-03-05"]


def test_calendar_without_bounds_is_the_whole_range(client: Client) -> None:
    found = days(client, "")

    assert (found[0]["date"], found[-1]["date"]) == ("1970-01-02", "2029-12-31")
    assert found == sorted(found, key=lambda day: day["date"])
    assert days(client, "start=2031-01-01&end=2035-01-01") == []
    assert days(client, "start=2013-10-08&end=2013-10-07") == []


@pytest.mark.parametrize("query", ["start=x", "end=2013-02-30", "start=20131007", "end=1e9"])
def test_bad_dates_are_422(client: Client, query: str) -> None:
    answer = client.get(f"/v2/calendar?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_every_day_of_the_simulated_market_can_be_read(client: Client) -> None:
    MarketClock.objects.filter(pk=1).update(mode="simulated", source="simulated-1")
    market_clock().refresh()

    found = [Calendar(**day) for day in days(client, "start=2024-03-09&end=2024-03-11")]

    assert [day.date for day in found] == [date(2024, 3, 9), date(2024, 3, 10), date(2024, 3, 11)]
    assert all(day.open < day.close for day in found)
    assert Clock(**client.get("/v2/clock").json()).is_open
