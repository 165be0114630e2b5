from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portfolios.accounts import deposit
from portfolios.errors import AccountNotFound, PositionNotFound
from portfolios.models import Account, Position
from portfolios.queries import (
    account_summary,
    get_account,
    portfolio,
    position_view,
    position_views,
)
from tests.portfolios.factories import funded_account, make_instrument, new_york, trade
from tests.portfolios.market import set_close, set_market_time, set_quote, set_trade

pytestmark = pytest.mark.django_db

MONDAY, TUESDAY = date(2024, 3, 4), date(2024, 3, 5)
MONDAY_NOON, TUESDAY_NOON = new_york("2024-03-04 12:00"), new_york("2024-03-05 12:00")


def now(account: Account) -> Account:
    return Account.objects.get(pk=account.pk)


@pytest.fixture
def held() -> Account:
    """10 AAPL bought on Monday at 100, closed at 104; 5 more on Tuesday at 106, sold 3 at 108."""
    set_market_time(MONDAY_NOON)
    account = funded_account("10000")
    trade(account, "buy", "10", "100", at=MONDAY_NOON)
    set_close(make_instrument(), MONDAY, "104")
    set_market_time(TUESDAY_NOON)
    trade(account, "buy", "5", "106", fee="1", at=TUESDAY_NOON)
    trade(account, "sell", "3", "108", at=TUESDAY_NOON)
    set_trade("AAPL", "110")
    return now(account)


def test_a_position_is_valued_at_the_last_trade(held):
    (view,) = position_views(held)

    assert view.quantity == 12
    assert view.side == "long"
    assert view.cost_basis == Decimal(700 + 530)
    assert view.avg_entry_price == Decimal("102.5")
    assert view.current_price == Decimal(110)
    assert view.market_value == Decimal(1320)
    assert view.unrealized_pl == Decimal(90)
    assert view.unrealized_plpc == Decimal("0.0731707317")
    assert view.realized == Decimal(24)  # 3 of Monday's at 108 − 100


def test_the_day_counts_from_the_previous_close_and_from_what_was_bought_since(held):
    (view,) = position_views(held)

    assert view.previous_close == Decimal(104)
    assert view.intraday_basis == Decimal(7 * 104 + 530)
    assert view.unrealized_intraday_pl == Decimal(1320 - 1258)
    assert view.unrealized_intraday_plpc == Decimal("0.0492845787")
    assert view.change_today == Decimal("0.0576923077")
    # 7 × 6 and 5 × 4 still held, 3 × 4 sold, 1 of fee
    assert view.day_pl == Decimal(42 + 20 + 12 - 1)


def test_the_account_adds_up(held):
    summary = account_summary(held)

    assert summary.cash == Decimal(10000 - 1000 - 530 - 1 + 324)
    assert summary.long_market_value == Decimal(1320)
    assert summary.equity == summary.cash + 1320
    assert summary.last_equity == Decimal(9000 + 1040)
    assert summary.day_pl == summary.equity - summary.last_equity == Decimal(73)
    assert summary.buying_power == summary.cash


def test_a_deposit_is_no_profit(held):
    deposit(account_id=held.pk, amount=Decimal(500), actor="user:1")

    summary = account_summary(now(held))

    assert summary.day_pl == summary.equity - summary.last_equity == Decimal(73)


def test_what_was_sold_today_still_counts_to_the_day(held):
    trade(held, "sell", "12", "110", at=TUESDAY_NOON)

    picture = portfolio(now(held))

    assert picture.positions == []
    assert picture.summary.day_pl == Decimal(73)
    assert picture.summary.last_equity == Decimal(10040)
    assert picture.summary.equity == Decimal(10113)


def test_the_next_day_starts_from_the_new_close(held):
    set_close(make_instrument(), TUESDAY, "111")
    set_market_time(new_york("2024-03-06 10:00"))
    set_trade("AAPL", "112")

    picture = portfolio(held)

    assert picture.positions[0].day_pl == picture.positions[0].unrealized_intraday_pl == 12
    assert picture.summary.last_equity == held.cash + 12 * 111


def test_a_short_position_is_worth_less_than_nothing_and_gains_when_the_price_falls():
    set_market_time(TUESDAY_NOON)
    account = funded_account("10000")
    trade(account, "sell", "10", "100", fee="1", at=TUESDAY_NOON)
    set_trade("AAPL", "90")

    picture = portfolio(now(account))

    view = picture.positions[0]
    assert view.side == "short"
    assert view.market_value == Decimal(-900)
    assert view.cost_basis == Decimal(-1000)
    assert view.avg_entry_price == Decimal(100)
    assert view.unrealized_pl == Decimal(100)
    assert view.unrealized_plpc == Decimal("0.1")
    assert picture.summary.short_market_value == Decimal(-900)
    assert picture.summary.equity == Decimal(10999 - 900)
    assert picture.summary.buying_power == Decimal(10999 - 2000)


def test_without_a_trade_the_middle_of_the_quote_counts_and_then_the_close():
    set_market_time(TUESDAY_NOON)
    account = funded_account()
    trade(account, "buy", "1", "100", at=TUESDAY_NOON)

    (unpriced,) = position_views(account)
    assert unpriced.current_price is None
    assert unpriced.market_value == Decimal(100)
    assert unpriced.unrealized_pl == unpriced.day_pl == unpriced.change_today == 0

    set_close(make_instrument(), MONDAY, "98")
    assert position_view(account, make_instrument().pk).current_price == Decimal(98)

    set_quote("AAPL", "99.01", "99.02")
    assert position_view(account, make_instrument().pk).current_price == Decimal("99.015")

    set_trade("AAPL", "97")
    assert position_view(account, make_instrument().pk).current_price == Decimal(97)


def test_a_one_sided_quote_prices_nothing():
    set_market_time(TUESDAY_NOON)
    account = funded_account()
    trade(account, "buy", "1", "100", at=TUESDAY_NOON)
    set_quote("AAPL", "0", "99")

    assert position_view(account, make_instrument().pk).current_price is None


def test_shares_that_orders_hold_are_not_available(held):
    Position.objects.update(hold_quantity=Decimal(5))

    assert position_view(held, make_instrument().pk).quantity_available == 7


def test_a_picture_costs_the_same_queries_whatever_is_held(held):
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            portfolio(held)
        return len([one for one in captured if "quotes_marketclock" not in one["sql"]])

    for number in range(20):
        instrument = make_instrument(f"SYM{number}")
        set_trade(instrument.symbol, "10")
        trade(held, "buy", "1", "10", instrument=instrument, at=TUESDAY_NOON)
    few_trades = cost()
    for _ in range(20):
        trade(held, "buy", "1", "10", at=TUESDAY_NOON)

    assert cost() == few_trades <= 3
    assert len(position_views(held)) == 21


def test_a_flat_position_does_not_exist(held):
    trade(held, "sell", "12", "110", at=TUESDAY_NOON)

    with pytest.raises(PositionNotFound):
        position_view(held, make_instrument().pk)


@pytest.mark.parametrize("account_id", [None, 10**9])
def test_a_credential_without_an_account_finds_none(account_id):
    with pytest.raises(AccountNotFound):
        get_account(account_id)
