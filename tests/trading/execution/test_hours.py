from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from quotes.calendar import EXCHANGE, ROUND_THE_CLOCK, Session
from quotes.ticks import to_micros
from tests.portfolios.factories import new_york
from trading.execution.hours import Hours
from trading.models import TimeInForce
from trading.sessions import expiry, may_trade, takes_auction_orders


@pytest.mark.parametrize(
    ("at", "session", "began", "ends"),
    [
        ("2013-10-07 03:59", Session.OVERNIGHT, "2013-10-06 20:00", "2013-10-07 04:00"),
        ("2013-10-07 09:29", Session.PRE, "2013-10-07 04:00", "2013-10-07 09:30"),
        ("2013-10-07 09:30", Session.REGULAR, "2013-10-07 09:30", "2013-10-07 16:00"),
        ("2013-10-07 16:00", Session.AFTER, "2013-10-07 16:00", "2013-10-07 20:00"),
        ("2013-11-29 12:59", Session.REGULAR, "2013-11-29 09:30", "2013-11-29 13:00"),
    ],
)
def test_sessions_begin_and_end(at: str, session: Session, began: str, ends: str) -> None:
    hours = Hours(EXCHANGE, to_micros(new_york(at)))
    assert hours.session is session
    assert hours.began_us == to_micros(new_york(began))
    assert hours.ends_us == to_micros(new_york(ends))


def test_walking_from_end_to_end_passes_every_session_of_a_week() -> None:
    at = new_york("2013-10-04 12:00")  # a Friday
    hours = Hours(EXCHANGE, to_micros(at))
    seen = [hours.session]
    while hours.ends_us <= to_micros(at + timedelta(days=4)):
        hours.enter(hours.ends_us)
        seen.append(hours.session)
    assert seen.count(Session.REGULAR) == 3
    assert Session.CLOSED in seen
    assert all(one is not two for one, two in pairwise(seen))


def test_the_simulated_market_only_knows_midnight() -> None:
    hours = Hours(ROUND_THE_CLOCK, to_micros(new_york("2024-03-09 12:00")))
    assert (hours.session, hours.everyone_may_trade) == (Session.REGULAR, True)
    assert hours.ends_us == to_micros(new_york("2024-03-10 00:00"))
    hours.enter(hours.ends_us)
    assert hours.ends_us == to_micros(new_york("2024-03-11 00:00"))  # a day of 23 hours


@pytest.mark.parametrize("session", Session)
def test_who_may_trade_when(session: Session) -> None:
    assert may_trade(session, extended_hours=False) == (session is Session.REGULAR)
    extended = session is not Session.CLOSED
    assert may_trade(session, extended_hours=True) == extended


@pytest.mark.parametrize(
    ("at", "extended", "ends"),
    [
        ("2013-10-07 12:00", False, "2013-10-07 16:00"),
        ("2013-10-07 16:00", False, "2013-10-08 16:00"),
        ("2013-10-07 17:00", True, "2013-10-07 20:00"),
        ("2013-10-07 21:00", True, "2013-10-08 20:00"),
        ("2013-11-27 18:00", False, "2013-11-29 13:00"),
    ],
)
def test_day_orders_live_to_the_end_of_their_day(at: str, extended: bool, ends: str) -> None:
    found = expiry(EXCHANGE, new_york(at), TimeInForce.DAY, extended_hours=extended)
    assert found == new_york(ends)


def test_other_lifetimes() -> None:
    at: datetime = new_york("2013-10-07 12:00")
    gtc = expiry(EXCHANGE, at, TimeInForce.GTC, extended_hours=False)
    assert gtc == at + timedelta(days=90)
    assert expiry(EXCHANGE, at, TimeInForce.IOC, extended_hours=False) is None


@pytest.mark.parametrize(
    ("time_in_force", "at", "taken"),
    [
        (TimeInForce.OPG, "2013-10-07 09:27", True),
        (TimeInForce.OPG, "2013-10-07 09:28", False),
        (TimeInForce.OPG, "2013-10-07 12:00", False),
        (TimeInForce.OPG, "2013-10-07 19:00", True),
        (TimeInForce.OPG, "2013-10-07 21:00", True),
        (TimeInForce.CLS, "2013-10-07 15:49", True),
        (TimeInForce.CLS, "2013-10-07 15:50", False),
        (TimeInForce.CLS, "2013-10-07 18:59", False),
        (TimeInForce.CLS, "2013-10-07 19:00", True),
        (TimeInForce.CLS, "2013-11-29 12:51", False),  # an early close
        (TimeInForce.CLS, "2013-11-29 16:00", True),
    ],
)
def test_auction_orders_are_taken_in_their_window(
    time_in_force: TimeInForce, at: str, taken: bool
) -> None:
    assert takes_auction_orders(EXCHANGE, new_york(at), time_in_force) is taken


@pytest.mark.parametrize(
    ("time_in_force", "at", "taken"),
    [
        (TimeInForce.OPG, "2024-03-05 00:10", False),
        (TimeInForce.OPG, "2024-03-05 00:30", True),
        (TimeInForce.OPG, "2024-03-05 23:59", False),
        (TimeInForce.CLS, "2024-03-05 00:10", True),
        (TimeInForce.CLS, "2024-03-05 23:51", False),
    ],
)
def test_where_the_market_never_closes_only_the_auction_itself_is_barred(
    time_in_force: TimeInForce, at: str, taken: bool
) -> None:
    assert takes_auction_orders(ROUND_THE_CLOCK, new_york(at), time_in_force) is taken


@pytest.mark.parametrize(
    ("time_in_force", "at", "ends"),
    [
        (TimeInForce.OPG, "2013-10-07 08:00", "2013-10-07 10:00"),
        (TimeInForce.OPG, "2013-10-07 19:30", "2013-10-08 10:00"),
        (TimeInForce.CLS, "2013-10-07 08:00", "2013-10-07 16:30"),
        (TimeInForce.CLS, "2013-11-29 08:00", "2013-11-29 13:30"),
    ],
)
def test_auction_orders_live_until_their_auction_must_be_over(
    time_in_force: TimeInForce, at: str, ends: str
) -> None:
    found = expiry(EXCHANGE, new_york(at), time_in_force, extended_hours=False)
    assert found == new_york(ends)
