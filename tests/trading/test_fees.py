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
DAY = timedelta(days=1)
OLD = (75, 375)  # the activity fee before July 2011


@pytest.fixture(autouse=True)
def fees_of_the_us(settings):
    settings.FEES = "us"


# The first day of each rate, and what a million dollars of sales cost from then on.
SALE_CENTS = {
    date(2011, 1, 21): 1920,
    date(2012, 2, 21): 1800,
    date(2012, 4, 1): 2240,
    date(2013, 5, 25): 1740,
    date(2014, 3, 18): 2210,
    date(2015, 2, 14): 1840,
    date(2016, 2, 16): 2180,
    date(2017, 7, 4): 2310,
    date(2018, 5, 22): 1300,
    date(2019, 4, 16): 2070,
    date(2020, 2, 18): 2210,
    date(2021, 2, 25): 510,
    date(2022, 5, 14): 2290,
    date(2023, 2, 27): 800,
    date(2024, 5, 22): 2780,
    date(2025, 5, 14): 0,
    date(2026, 4, 4): 2060,
}
# Likewise for ten thousand shares, and the most for one execution.
ACTIVITY_CENTS = {
    date(2011, 7, 1): (90, 450),
    date(2012, 3, 1): (95, 475),
    date(2012, 7, 1): (119, 595),
    date(2022, 1, 1): (130, 649),
    date(2023, 1, 1): (145, 727),
    date(2024, 1, 1): (166, 830),
    date(2026, 1, 1): (195, 979),
    date(2026, 10, 1): (0, 0),
    date(2027, 1, 1): (195, 979),
}


@pytest.mark.parametrize("first", SALE_CENTS)
def test_a_million_dollars_of_sales_cost_the_rate_of_the_day(first):
    before = [cents for on, cents in SALE_CENTS.items() if on < first]
    assert dollars_cost(1_000_000, first) == SALE_CENTS[first]
    # Before the table its first row counts.
    assert dollars_cost(1_000_000, first - DAY) == (before or [1920])[-1]


@pytest.mark.parametrize("first", ACTIVITY_CENTS)
def test_shares_cost_the_activity_fee_of_the_day(first):
    before = [cents for on, cents in ACTIVITY_CENTS.items() if on < first]
    for on, (each, most) in ((first, ACTIVITY_CENTS[first]), (first - DAY, (before or [OLD])[-1])):
        assert shares_cost(10_000, on) == each
        assert shares_cost(10**9, on) == most


def test_the_last_rates_known_stay():
    assert dollars_cost(1_000_000, date(2040, 1, 1)) == 2060
    assert shares_cost(10_000, date(2040, 1, 1)) == 195


def dollars_cost(dollars: int, on: date) -> float:
    return sale_fee(dollars * DOLLAR, on) / CENT


def shares_cost(shares: int, on: date) -> float:
    return activity_fee(shares * SHARE, on) / CENT


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
