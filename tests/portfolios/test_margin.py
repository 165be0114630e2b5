from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolios.buying_power import buying_power, order_value
from portfolios.margin import (
    CASH,
    INTRADAY,
    MARGIN,
    Margin,
    Stake,
    Terms,
    initial_requirement,
    maintenance_requirement,
    margin_of,
    order_rate,
    pack_on,
    worth_of,
)

PACK = pack_on(date(2026, 11, 20))
TERMS = Terms(PACK, in_session=True)
CENT = Decimal("0.01")


def stake(quantity: str, price: str, marginable: bool = True) -> Stake:
    return Stake(Decimal(quantity), Decimal(quantity) * Decimal(price), marginable)


def margin(
    cash: str, *stakes: Stake, multiplier: int = MARGIN, held: str = "0", terms: Terms = TERMS
) -> Margin:
    return margin_of(
        terms,
        multiplier=multiplier,
        cash=Decimal(cash),
        hold_cash=Decimal(held),
        short_cost=Decimal(0),
        stakes=stakes,
    )


def test_ten_thousand_dollars_open_twice_as_much():
    assert margin("10000").buying_power == 20000


def test_what_an_open_order_holds_becomes_the_margin_of_what_it_bought():
    accepted = margin("10000", held="4000")
    filled = margin("2000", stake("80", "100"))

    assert accepted.buying_power == filled.buying_power == 12000
    assert (filled.equity, filled.overnight, filled.maintenance) == (10000, 4000, 2400)


def test_what_was_sold_short_takes_half_its_value_besides_what_it_brought():
    filled = margin("15000", stake("-50", "100"))

    assert (filled.equity, filled.overnight, filled.maintenance) == (10000, 2500, 1500)
    assert filled.buying_power == 15000


def test_a_price_that_falls_takes_buying_power_twice_over_and_more():
    before = margin("2000", stake("80", "100"))
    after = margin("2000", stake("80", "95"))

    # Equity falls by 400, the requirement by 200.
    assert before.buying_power - after.buying_power == 400


def test_four_times_is_for_the_session():
    assert margin("30000", multiplier=INTRADAY).buying_power == 120_000
    closed = Terms(PACK, in_session=False)
    assert margin("30000", multiplier=INTRADAY, terms=closed).buying_power == 60_000


@pytest.mark.parametrize(("on", "leverage"), [(date(2026, 6, 3), 2), (date(2026, 6, 4), 4)])
def test_four_times_took_25000_while_there_were_pattern_day_traders(on, leverage):
    terms = Terms(pack_on(on), in_session=True)
    assert margin("24999.99", multiplier=INTRADAY, terms=terms).leverage == leverage


def test_below_2000_of_equity_there_is_no_margin():
    assert margin("1999.99").leverage == CASH
    assert margin("2000").leverage == MARGIN
    poor = margin("1000", stake("5", "100"))
    assert (poor.equity, poor.buying_power) == (1500, 1000)


@pytest.mark.parametrize(
    ("held", "initial", "maintenance"),
    [
        (stake("10", "100"), "500", "300"),
        (stake("10", "100", marginable=False), "1000", "1000"),
        (stake("10", "2.50"), "12.5", "7.5"),
        (stake("10", "2.49"), "24.9", "24.9"),
        (stake("-10", "100"), "500", "300"),
        (stake("-10", "100", marginable=False), "1000", "1000"),
        (stake("-10", "12"), "60", "50"),  # at least 5 a share
        (stake("-10", "5"), "50", "50"),
        (stake("-10", "4"), "40", "40"),
        (stake("-10", "1"), "25", "25"),  # at least 2.50 a share
    ],
)
def test_requirements(held, initial, maintenance):
    assert initial_requirement(PACK, MARGIN, held) == Decimal(initial)
    assert maintenance_requirement(PACK, MARGIN, held) == Decimal(maintenance)


def test_the_intraday_rule_asks_for_a_quarter_of_longs_only():
    assert initial_requirement(PACK, INTRADAY, stake("10", "100")) == 250
    assert maintenance_requirement(PACK, INTRADAY, stake("10", "100")) == 250
    assert initial_requirement(PACK, INTRADAY, stake("-10", "100")) == 300


def test_withdrawing_leaves_what_was_borrowed_and_what_shorts_brought():
    assert margin("2000", stake("80", "100")).cash_of_its_own == 2000
    assert margin("15000", stake("-50", "100")).cash_of_its_own == 10000
    assert margin("-3000", stake("80", "100")).cash_of_its_own == -3000


prices = st.decimals("0.01", "1000", places=2)
cash = st.decimals("-100000", "1000000", places=4)
positions = st.lists(
    st.builds(
        lambda quantity, price, marginable: Stake(
            Decimal(quantity), Decimal(quantity) * price, marginable
        ),
        st.integers(-1000, 1000).filter(bool),
        prices,
        st.booleans(),
    ),
    max_size=4,
)


@given(cash=cash, held=st.decimals("0", "100000", places=4), stakes=positions)
def test_a_cash_account_buys_with_its_cash(cash, held, stakes):
    longs = [stake for stake in stakes if stake.quantity > 0]
    found = margin(str(cash), *longs, multiplier=CASH, held=str(held))

    assert found.buying_power == buying_power(cash, held)
    assert found.overnight == found.maintenance == sum(stake.value for stake in longs)


@given(
    cash=cash,
    stakes=positions,
    multiplier=st.sampled_from([MARGIN, INTRADAY]),
    quantity=st.integers(1, 500),
    price=prices,
    is_short=st.booleans(),
    marginable=st.booleans(),
)
def test_whatever_fills_at_the_price_it_was_accepted_at_leaves_no_less_than_before(
    cash, stakes, multiplier, quantity, price, is_short, marginable
):
    before = margin(str(cash), *stakes, multiplier=multiplier)
    rate = order_rate(
        PACK,
        before.leverage,
        is_short=is_short,
        marginable=marginable,
        price=price,
        market=price,
    )
    hold = order_value(Decimal(quantity), price) * rate
    accepted = margin(str(cash), *stakes, multiplier=multiplier, held=str(hold))

    signed = Decimal(-quantity if is_short else quantity)
    filled = margin(
        str(cash - signed * price),
        *stakes,
        Stake(signed, signed * price, marginable),
        multiplier=multiplier,
    )

    assert filled.equity == accepted.equity
    # Its requirement is rounded up once, the hold's rate and value twice.
    assert filled.excess >= accepted.excess - Decimal("0.0001")
    if accepted.excess >= 0:
        assert filled.maintenance <= filled.equity + Decimal("0.0001")


@given(cash=st.decimals("2000", "1000000", places=2), multiplier=st.sampled_from([2, 4]))
def test_the_largest_order_is_the_buying_power_shown(cash, multiplier):
    found = margin(str(cash), multiplier=multiplier)
    rate = order_rate(
        PACK,
        found.leverage,
        is_short=False,
        marginable=True,
        price=Decimal(100),
        market=Decimal(100),
    )

    assert worth_of(found.excess, rate) == found.buying_power
    assert found.buying_power * rate <= found.excess
    assert (found.buying_power + CENT) * rate > found.excess
