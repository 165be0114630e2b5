"""Amounts on their way to the database and back, as those write and read them who handle many."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.amounts import (
    CASH_PLACES,
    EXACT,
    cash_field,
    from_units,
    plain,
    plain_units,
    to_units,
)

WRITE, READ = cash_field().writer(), cash_field().from_stored()


def amounts() -> st.SearchStrategy[Decimal]:
    """Of at most four decimals, however they are written: 1000, 1E+3, 1000.000000."""
    units = st.integers(-(10**17), 10**17)
    exact = units.map(lambda each: EXACT.scaleb(Decimal(each), -CASH_PLACES))
    forms = st.sampled_from([Decimal(1), Decimal("1.00"), None])
    pairs = st.tuples(exact, forms)
    return pairs.map(lambda pair: pair[0] * pair[1] if pair[1] else pair[0].normalize())


@given(amounts())
def test_a_statement_says_an_amount_in_its_units_and_is_read_as_the_same(amount: Decimal) -> None:
    text = WRITE(amount, None)
    assert text == str(to_units(amount, CASH_PLACES))
    assert READ(int(text)) == amount


def test_nothing_is_null_and_zero_is_zero() -> None:
    assert (WRITE(None, None), WRITE(Decimal("0E-9"), None)) == ("NULL", "0")


@pytest.mark.parametrize("amount", ["0.00001", "-12.34567", "1E-5"])
def test_what_would_have_to_be_rounded_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="more than 4 decimals"):
        WRITE(Decimal(amount), None)


@given(st.integers(-(10**17), 10**17) | st.integers(-(10**5), 10**5), st.sampled_from([4, 6, 9]))
def test_a_stored_amount_is_shown_like_the_amount_it_stands_for(units: int, places: int) -> None:
    assert plain_units(units, places) == plain(from_units(units, places))
