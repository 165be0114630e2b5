from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from alpaca.trading.models import PortfolioHistory
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from access.keys import create_key
from portfolios import moves
from portfolios.accounts import deposit, withdraw
from portfolios.errors import HistoryInvalid
from portfolios.history import History, HistoryRequest, portfolio_history
from portfolios.models import Account, AccountDay, PositionDay
from portfolios.queries import account_summary
from portfolios.spans import range_of
from quotes.calendar import EXCHANGE
from quotes.clock import forget_clock
from quotes.latest import forget_latest
from quotes.models import Bar, Timeframe
from tests.portfolios.factories import (
    assert_ledger_agrees,
    funded_account,
    make_instrument,
    new_york,
    trade,
)
from tests.portfolios.market import set_close, set_market_time, set_trade

pytestmark = pytest.mark.django_db

FRIDAY, MONDAY, TUESDAY = date(2024, 3, 1), date(2024, 3, 4), date(2024, 3, 5)
WEDNESDAY = date(2024, 3, 6)


def at(on: date, clock: str = "12:00") -> datetime:
    return new_york(f"{on} {clock}")


def told(account: Account, **wanted: Any) -> History:
    account.refresh_from_db()
    return portfolio_history(account, HistoryRequest(**wanted))


def profits(history: History) -> list[Decimal]:
    return [result.profit for result in history.results]


@pytest.fixture
def account() -> Account:
    """Friday 10,000; Monday 10 AAPL at 100, closes at 104; Tuesday 1,000 more, closes at 103;
    Wednesday 4 sold at 107, 500 taken out, trades at 108."""
    set_market_time(at(FRIDAY))
    account = funded_account("10000")
    set_market_time(at(MONDAY))
    trade(account, "buy", "10", "100", fee="1", at=at(MONDAY))
    set_close(make_instrument(), MONDAY, "104")
    set_market_time(at(TUESDAY))
    deposit(account_id=account.pk, amount=Decimal(1000), actor="test")
    set_close(make_instrument(), TUESDAY, "103")
    set_market_time(at(WEDNESDAY))
    trade(account, "sell", "4", "107", fee="1", at=at(WEDNESDAY))
    withdraw(account_id=account.pk, amount=Decimal(500), actor="test")
    set_trade("AAPL", "108")
    return account


def test_days_are_told_at_their_close_and_the_last_one_as_it_is_now(account):
    history = told(account, timeframe="1D")

    assert history.labels == [
        int(at(day, "09:30").timestamp()) for day in (FRIDAY, MONDAY, TUESDAY, WEDNESDAY)
    ]
    assert history.equity == [10000, 8999 + 1040, 9999 + 1030, 9999 + 427 - 500 + 648]
    assert history.equity[-1] == account_summary(account).equity


def test_deposits_and_withdrawals_are_marked_and_no_profit(account):
    history = told(account, timeframe="1D")

    assert history.flows == {"CSD": [10000, 0, 1000, 0], "CSW": [0, 0, 0, -500]}
    # 10 × 4 − 1, 10 × −1, 4 × 4 − 1 and 6 × 5
    assert profits(history) == [0, 39, 29, 74]
    assert history.base == 10000


def test_the_return_is_time_weighted(account):
    history = told(account, timeframe="1D")

    returns = [result.total_return for result in history.results]
    expected = Decimal(10039) / 10000 * 11029 / 11039 * 11074 / 11029 - 1
    assert returns[:2] == [0, Decimal("0.0039")]
    assert returns[3] == expected.quantize(Decimal("1e-10"))


def test_a_history_in_the_past_ends_there_and_starts_from_what_there_was(account):
    history = told(account, timeframe="1D", first=MONDAY, last=TUESDAY)

    assert history.equity == [10039, 11029]
    assert history.base == 10000
    assert history.based_on == FRIDAY
    assert profits(history) == [39, 29]


def test_nothing_is_told_of_the_time_before_the_account(account):
    assert told(account, timeframe="1D", period="1A").labels[0] == int(
        at(FRIDAY, "09:30").timestamp()
    )
    assert told(account, first=date(2024, 1, 2), last=date(2024, 1, 31)).labels == []


def put_minutes(on: date, prices: dict[str, str]) -> None:
    for clock, price in prices.items():
        values = dict.fromkeys(("open", "high", "low", "close"), Decimal(price))
        Bar.objects.create(
            instrument=make_instrument(),
            timeframe=Timeframe.MINUTE,
            start=int(at(on, clock).timestamp()),
            volume=1,
            **values,
        )


def test_below_a_day_each_stretch_is_told_at_its_last_minute():
    set_market_time(at(MONDAY, "09:00"))
    account = funded_account("10000")
    set_close(make_instrument(), FRIDAY, "99")
    put_minutes(MONDAY, {"09:31": "101", "10:29": "102", "10:30": "90", "11:07": "104"})
    set_market_time(at(MONDAY, "10:05"))
    trade(account, "buy", "10", "100", at=at(MONDAY, "10:05"))
    trade(account, "sell", "4", "103", at=at(MONDAY, "11:05"))
    set_market_time(at(MONDAY, "12:20"))
    deposit(account_id=account.pk, amount=Decimal(50), actor="test")
    set_trade("AAPL", "105")

    history = told(account, timeframe="1H", period="1D")

    assert [datetime.fromtimestamp(one).astimezone().minute for one in history.labels] == [0] * 4
    assert history.labels[0] == int(at(MONDAY, "09:00").timestamp())
    # 9:00 to 10:00 cash only; then 10 at 90; 6 at 104; 6 at 105 and the deposit
    assert history.equity == [10000, 9900, 9000 + 412 + 624, 9412 + 630 + 50]
    assert history.flows == {"CSD": [10000, 0, 0, 50]}

    minutes = told(account, timeframe="15Min", period="1D")
    assert all(label % 900 == 0 for label in minutes.labels)
    assert minutes.labels[0] == int(at(MONDAY, "09:30").timestamp())
    by_label = dict(zip(minutes.labels, minutes.equity, strict=True))
    assert by_label[int(at(MONDAY, "10:15").timestamp())] == 9000 + 1020
    assert by_label[int(at(MONDAY, "10:30").timestamp())] == 9000 + 900
    assert minutes.equity[-1] == account_summary(account).equity


def test_trades_after_hours_count_from_the_next_stretch_on():
    set_market_time(at(MONDAY, "09:30"))
    account = funded_account("1000")
    trade(account, "buy", "1", "100", at=at(MONDAY, "17:00"))
    put_minutes(MONDAY, {"17:00": "100"})
    set_close(make_instrument(), MONDAY, "100")
    put_minutes(TUESDAY, {"09:30": "110"})
    set_market_time(at(TUESDAY, "16:30"))
    set_trade("AAPL", "120")

    regular = told(account, timeframe="1H", first=MONDAY)
    extended = told(account, timeframe="1H", first=MONDAY, extended_hours=True)

    by_label = dict(zip(regular.labels, regular.equity, strict=True))
    assert by_label[int(at(MONDAY, "15:00").timestamp())] == 1000
    assert by_label[int(at(TUESDAY, "09:00").timestamp())] == 1010
    assert int(at(MONDAY, "17:00").timestamp()) in extended.labels
    assert regular.equity[-1] == extended.equity[-1] == 1020


@pytest.mark.parametrize("when", ["2024-03-06 18:00", "2024-03-06 23:00"])
@pytest.mark.parametrize("timeframe", ["1H", "1D"])
def test_what_is_paid_in_since_the_newest_stretch_ended_counts_to_it(account, when, timeframe):
    set_market_time(new_york(when))
    set_trade("AAPL", "108")
    before = told(account, timeframe=timeframe)
    deposit(account_id=account.pk, amount=Decimal(300), actor="test")

    after = told(account, timeframe=timeframe)

    assert after.labels == before.labels
    assert after.equity[-1] == before.equity[-1] + 300
    assert after.flows["CSD"][-1] == 300
    assert profits(after) == profits(before)


@pytest.mark.parametrize(
    ("period", "first"),
    [("1D", TUESDAY), ("2D", MONDAY), ("3D", FRIDAY), ("1W", date(2024, 2, 28)),
     ("1M", date(2024, 2, 6)), ("1A", date(2023, 3, 6)), ("13M", date(2023, 2, 6))],
)  # fmt: skip
def test_a_period_ends_today(period, first):
    assert range_of(EXCHANGE, TUESDAY, period, None, None).first == first


def test_a_month_back_from_its_last_day_stays_within_the_month():
    assert range_of(EXCHANGE, date(2024, 3, 29), "1M", None, None).first == date(2024, 3, 1)
    assert range_of(EXCHANGE, date(2024, 5, 31), "3M", None, None).first == date(2024, 3, 1)


@pytest.mark.parametrize(
    "wanted",
    [
        {"period": "0D"},
        {"period": "1Y"},
        {"period": "month"},
        {"timeframe": "2Min"},
        {"period": "1D", "first": MONDAY, "last": TUESDAY},
        {"first": TUESDAY, "last": MONDAY},
        {"period": "1000D"},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(account, wanted):
    with pytest.raises(HistoryInvalid):
        told(account, **wanted)


def test_too_many_points_are_refused(account, monkeypatch):
    monkeypatch.setattr("portfolios.spans.SPANS_MAX", 3)
    with pytest.raises(HistoryInvalid, match="more than 3 points"):
        told(account, timeframe="1D")


def test_too_many_trades_for_a_history_below_a_day_are_refused(account, monkeypatch):
    monkeypatch.setattr(moves, "TRANSACTIONS_MAX", 2)

    with pytest.raises(HistoryInvalid, match="too much was traded"):
        told(account, timeframe="1H")
    assert len(told(account, timeframe="1H", first=TUESDAY, last=TUESDAY).labels) == 7
    assert len(told(account, timeframe="1D").labels) == 4


lives = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "deposit", "withdraw", "hour", "day"]),
        st.integers(1, 30),
        st.sampled_from(["AAPL", "IBM"]),
    ),
    min_size=1,
    max_size=10,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(life=lives, timeframe=st.sampled_from(["1D", "15Min"]))
def test_the_newest_point_and_the_profit_are_those_of_the_account(life, timeframe):
    forget_clock()  # market time never runs backwards, and the last life ended later
    forget_latest()
    now = at(MONDAY, "10:00")
    set_market_time(now)
    account = funded_account("10000")
    for symbol in ("AAPL", "IBM"):
        make_instrument(symbol)
        set_trade(symbol, "10")
    paid_in = Decimal(10000)
    for step, number, symbol in life:
        if step in ("hour", "day"):
            now += timedelta(hours=1) if step == "hour" else timedelta(days=1)
            set_market_time(now)
            set_trade(symbol, str(number))
        elif step in ("deposit", "withdraw"):
            amount = Decimal(number if step == "deposit" else -number)
            (deposit if amount > 0 else withdraw)(
                account_id=account.pk, amount=abs(amount), actor="test"
            )
            paid_in += amount
        else:
            instrument = make_instrument(symbol)
            trade(account, step, str(number), "11", fee="0.1", at=now, instrument=instrument)

    history = told(account, timeframe=timeframe)

    equity = account_summary(account).equity
    assert history.equity[-1] == equity
    assert history.results[-1].profit == equity - paid_in
    assert sum(sum(amounts) for amounts in history.flows.values()) == paid_in
    assert_ledger_agrees(account)


def test_the_work_does_not_grow_with_the_number_of_fills(account):
    def cost(**wanted: Any) -> int:
        with CaptureQueriesContext(connection) as captured:
            told(account, **wanted)
        return len([one for one in captured if "quotes_marketclock" not in one["sql"]])

    few = cost(timeframe="1D"), cost(timeframe="1Min")
    for n in range(8):
        trade(account, "buy", "1", "100", at=at(WEDNESDAY, f"13:0{n}"))

    assert (cost(timeframe="1D"), cost(timeframe="1Min")) == few
    assert few[0] <= 14
    assert AccountDay.objects.count() == 4
    assert PositionDay.objects.count() == 2


def test_the_official_client_reads_it(account):
    key, secret = create_key(account_id=account.pk, user=account.user, actor="test")
    client = Client(headers={"APCA-API-KEY-ID": key.key_id, "APCA-API-SECRET-KEY": secret})

    def get(**query: str) -> Any:
        return client.get("/v2/account/portfolio/history", query)

    parsed = PortfolioHistory(**get(period="1M", timeframe="1D").json())
    assert parsed.equity == [10000, 10039, 11029, 10574]
    assert parsed.profit_loss == [0, 39, 29, 74]
    assert get().json()["cashflow"] == {
        "CSD": [10000, 10000, 11000, 11000], "CSW": [0, 0, 0, -500]
    }  # fmt: skip
    assert get(cashflow_types="CSW").json()["cashflow"].keys() == {"CSW"}
    assert get(cashflow_types="NONE").json()["cashflow"] == {}
    assert get(date_start="2024-03-04", date_end="2024-03-05").json()["base_value"] == 10000
    assert get(period="1D").json()["timeframe"] == "1Min"
    for wrong in ({"period": "1X"}, {"timeframe": "2H"}, {"date_end": "yesterday"}):
        assert get(**wrong).status_code == 422, wrong
