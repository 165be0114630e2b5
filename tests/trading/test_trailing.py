from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.trailing import Trail, better_mark, stop_of, trail_of

marks = st.integers(1, 10**11)
trails = st.one_of(
    st.integers(1, 10**6).map(lambda price: Trail(price=price)),
    st.integers(1, 999_999).map(lambda percent: Trail(percent=percent)),
)


@pytest.mark.parametrize(
    ("is_buy", "trail", "stop"),
    [
        (False, Trail(price=20_000), 980_000),
        (True, Trail(price=20_000), 1_020_000),
        (False, Trail(percent=10_000), 990_000),  # 1 %
        (True, Trail(percent=10_000), 1_010_000),
        (False, Trail(price=2_000_000), 0),
    ],
)
def test_a_stop_keeps_its_distance_from_a_mark_of_100(
    is_buy: bool, trail: Trail, stop: int
) -> None:
    assert stop_of(1_000_000, trail, is_buy) == stop


@given(marks, st.integers(1, 999_999), st.booleans())
def test_rounding_never_brings_a_stop_nearer(mark: int, percent: int, is_buy: bool) -> None:
    exact = Fraction(mark * percent, 1_000_000)
    distance = abs(stop_of(mark, Trail(percent=percent), is_buy) - mark)
    assert exact <= distance < exact + 1


@given(marks, marks, trails, st.booleans())
def test_a_stop_only_moves_towards_the_market(
    mark: int, price: int, trail: Trail, is_buy: bool
) -> None:
    before = stop_of(mark, trail, is_buy)
    after = stop_of(better_mark(mark, price, is_buy), trail, is_buy)
    assert after <= before if is_buy else after >= before


def test_a_trail_is_one_of_two() -> None:
    assert trail_of(Decimal("2.5"), None) == Trail(price=25_000)
    assert trail_of(None, Decimal("1.25")) == Trail(percent=12_500)
    assert trail_of(None, None) is None
