from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolios.buying_power import buying_power, order_value
from quotes.amounts import rounded

amounts = st.decimals(min_value=0, max_value=10**9, places=4)


def test_an_open_order_reserves_exactly_its_value():
    assert buying_power(Decimal(10000), Decimal(3000)) == Decimal(7000)


@pytest.mark.parametrize(("cash", "held"), [("100", "100.0001"), ("-5", "0")])
def test_it_is_never_below_zero(cash, held):
    assert buying_power(Decimal(cash), Decimal(held)) == 0


@given(cash=amounts, value=amounts)
def test_a_short_order_that_fills_leaves_the_same_power(cash, value):
    open_order = buying_power(cash, value)
    filled = buying_power(cash + value, Decimal(0), value)

    assert filled == open_order


@pytest.mark.parametrize(
    ("quantity", "price", "value"),
    [("10", "100", "1000"), ("0.5", "0.0001", "0.0001"), ("0.333333333", "3", "1.0000")],
)
def test_an_order_is_worth_its_value_rounded_up(quantity, price, value):
    assert order_value(Decimal(quantity), Decimal(price)) == Decimal(value)


@given(
    quantity=st.decimals(min_value=Decimal("0.000000001"), max_value=10**6, places=9),
    price=st.decimals(min_value=Decimal("0.0001"), max_value=10**5, places=4),
)
def test_a_fill_of_the_whole_order_never_costs_more_than_its_value(quantity, price):
    assert rounded(quantity * price) <= order_value(quantity, price)
