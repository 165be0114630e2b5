"""Bars, closes and ticks from before a split, as they count after it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from quotes import history
from quotes.latest import Latest
from quotes.models import CorporateAction, Instrument
from quotes.splits import UNDER_WAY, adjusted, splits_of
from quotes.ticks import Quote, Trade, to_micros
from tests.people import a_trader
from tests.portfolios.factories import make_instrument, new_york
from tests.portfolios.market import set_close, set_market_time

pytestmark = pytest.mark.django_db

SPLIT_AT = new_york("2013-10-07 20:00")
NOON = new_york("2013-10-09 12:00")


@pytest.fixture
def instrument() -> Instrument:
    set_market_time(NOON)
    instrument = make_instrument("AAPL")
    for day, price in ((3, "400"), (4, "404"), (7, "410.02"), (8, "101")):
        set_close(instrument, date(2013, 10, day), price)
    return instrument


def announce(instrument: Instrument, status: str = "done") -> None:
    CorporateAction.objects.create(
        instrument=instrument,
        kind="split",
        ex_on=date(2013, 10, 8),
        new_shares=4,
        old_shares=1,
        due_at=SPLIT_AT,
        announced_at=SPLIT_AT,
        status=status,
    )


def bars(**query: str) -> list[tuple[float, int]]:
    answer = (
        a_trader()
        .client()
        .get(
            "/v2/stocks/AAPL/bars", {"start": "2013-09-29T00:00:00Z", "timeframe": "1Day", **query}
        )
    )
    return [(bar["c"], bar["v"]) for bar in answer.json()["bars"]]


def test_bars_are_raw_unless_asked_otherwise(instrument):
    raw = [(400, 1), (404, 1), (410.02, 1), (101, 1)]
    for status, told in (
        ("announced", raw),
        ("done", [(100, 4), (101, 4), (102.505, 4), (101, 1)]),
    ):
        CorporateAction.objects.all().delete()
        announce(instrument, status)
        assert bars() == bars(adjustment="raw") == bars(adjustment="dividend") == raw
        assert bars(adjustment="split") == bars(adjustment="all") == told


def test_a_week_that_spans_the_split_is_made_of_adjusted_days(instrument):
    announce(instrument)
    # Of the 3rd and 4th, then of the 7th and 8th.
    assert bars(timeframe="1Week", adjustment="split") == [(101, 8), (101, 5)]


@pytest.mark.parametrize(
    ("at", "close"), [("2013-10-08 12:00", "102.505"), ("2013-10-09 12:00", "101")]
)
def test_the_previous_close_is_that_of_todays_shares(instrument, at, close):
    announce(instrument)
    splits = splits_of([instrument.pk])

    found = history.previous_close([instrument.pk], new_york(at), splits)
    assert found == {instrument.pk: Decimal(close)}


def test_ticks_from_before_it_are_adjusted_and_later_ones_are_not(instrument):
    announce(instrument)
    splits, at_us = splits_of([instrument.pk]), to_micros(SPLIT_AT)
    before = Latest(Quote("AAPL", at_us - 1, 4_000_000, 1, 4_000_400, 1), None)
    after = Latest(None, Trade("AAPL", at_us, 1_000_000, 1))

    (told,) = adjusted({"AAPL": before}, splits).values()
    assert told.quote is not None
    assert (told.quote.bid, told.quote.ask) == (1_000_000, 1_000_100)
    assert adjusted({"AAPL": after}, splits) == {"AAPL": after}


def test_where_the_books_are_behind_it_is_later_ticks_that_are_put_back(instrument):
    announce(instrument, "under_way")
    at_us = to_micros(SPLIT_AT)
    before = Latest(Quote("AAPL", at_us - 1, 4_000_000, 1, 4_000_400, 1), None)
    after = Latest(None, Trade("AAPL", at_us, 1_000_000, 1))
    assert splits_of([instrument.pk]) == []
    (split,) = splits_of([instrument.pk], UNDER_WAY)
    split = split._replace(is_ahead=True)

    assert adjusted({"AAPL": before}, [split]) == {"AAPL": before}
    (told,) = adjusted({"AAPL": after}, [split]).values()
    assert told.trade is not None
    assert told.trade.price == 4_000_000
    for at, close in (("2013-10-08 12:00", "410.02"), ("2013-10-09 12:00", "404")):
        found = history.previous_close([instrument.pk], new_york(at), [split])
        assert found == {instrument.pk: Decimal(close)}


def test_splits_of_others_are_not_told(instrument):
    announce(instrument)
    assert splits_of([]) == splits_of([instrument.pk + 1]) == []
