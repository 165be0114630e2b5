from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import TradingFloor
from trading.fees import ACTIVITY_RATES, SALE_RATES, activity_fee, fee, sale_fee
from trading.models import Fill

CENT = 100
DOLLAR = 10_000
SHARE = 10**9


@pytest.fixture(autouse=True)
def fees_of_the_us(settings):
    settings.FEES = "us"


@pytest.mark.parametrize(
    ("on", "cents"),
    [
        (date(2013, 10, 7), 1740),
        (date(2024, 5, 21), 800),
        (date(2024, 5, 22), 2780),  # the first day of a new rate
        (date(2025, 5, 14), 0),
        (date(2026, 4, 4), 2060),
        (date(1999, 1, 1), 2240),  # before the table
        (date(2040, 1, 1), 2060),  # after it
    ],
)
def test_a_million_dollars_of_sales_cost_the_rate_of_the_day(on, cents):
    assert sale_fee(1_000_000 * DOLLAR, on) == cents * CENT


@pytest.mark.parametrize(
    ("on", "shares", "cents"),
    [
        (date(2013, 10, 7), 10_000, 119),
        (date(2013, 10, 7), 1_000_000, 595),  # the most
        (date(2024, 3, 1), 10_000, 166),
        (date(2024, 3, 1), 100_000, 830),
        (date(2026, 11, 20), 10_000, 195),
        (date(2026, 11, 20), 10**9, 979),
    ],
)
def test_shares_cost_the_activity_fee_of_the_day(on, shares, cents):
    assert activity_fee(shares * SHARE, on) == cents * CENT


def test_each_fee_is_rounded_up_to_the_cent():
    on = date(2013, 10, 7)
    assert fee(is_buy=False, quantity=SHARE, cash=150 * DOLLAR, on=on) == 2 * CENT


def test_buying_is_free():
    assert fee(is_buy=True, quantity=SHARE, cash=150 * DOLLAR, on=date(2013, 10, 7)) == 0


def test_an_operator_may_have_trading_free(settings):
    settings.FEES = "none"
    assert fee(is_buy=False, quantity=SHARE, cash=150 * DOLLAR, on=date(2013, 10, 7)) == 0


@given(
    quantity=st.integers(1, 10**18),
    cash=st.integers(1, 10**15),
    days=st.integers(0, 20_000),
)
def test_a_fee_is_whole_cents_and_never_more_than_the_sale_brings_in(quantity, cash, days):
    charge = fee(is_buy=False, quantity=quantity, cash=cash, on=date(2000, 1, 1) + timedelta(days))
    assert 0 <= charge <= cash
    assert charge % CENT == 0 or charge == cash


@pytest.mark.parametrize("rates", [SALE_RATES, ACTIVITY_RATES])
def test_the_tables_are_in_the_order_of_their_days(rates):
    assert [rate.since for rate in rates] == sorted({rate.since for rate in rates})


@pytest.mark.django_db
def test_a_sale_pays_its_fees_out_of_its_proceeds():
    floor = TradingFloor()
    account = funded_account("10000")
    floor.show("99", "100")
    floor.buy(account, "50")
    floor.pass_time(seconds=1)
    floor.sell(account, "50")
    floor.pass_time(seconds=1)

    bought, sold = Fill.objects.order_by("pk")
    # 4,950 × 17.40 ÷ 1,000,000 = 0.08613, and 50 × 0.000119 = 0.00595: 9 cents and 1.
    assert (bought.fee, sold.fee) == (Decimal(0), Decimal("0.10"))
    account.refresh_from_db()
    assert account.cash == Decimal("9949.90")  # 10,000 − 5,000 + 4,950 − 0.10
    assert_books_balance(account)
