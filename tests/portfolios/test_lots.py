from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolios.lots import open_lot, part, relieve
from portfolios.models import Lot


def lot(quantity: str, cost: str, fee: str = "0") -> Lot:
    return open_lot(
        account_id=1,
        instrument_id=1,
        execution_id=uuid4(),
        price=Decimal(1),
        quantity=Decimal(quantity),
        cost=Decimal(cost),
        fee=Decimal(fee),
        at=datetime(2024, 3, 5, 15, tzinfo=UTC),
    )


def test_oldest_shares_go_first():
    first, second = lot("10", "1000"), lot("10", "1200")

    relief = relieve([first, second], Decimal(15))

    assert relief.cost == Decimal("1600")  # 10 at 100, 5 at 120
    assert relief.closed == [first]
    assert relief.reduced == [second]
    assert (second.quantity_left, second.cost_left) == (Decimal(5), Decimal(600))


def test_part_of_a_lot_takes_its_rounded_share_and_the_last_part_the_rest():
    thirds = lot("3", "100", fee="0.01")

    costs = [relieve([thirds], Decimal(1)) for _ in range(3)]

    assert [relief.cost for relief in costs] == [
        Decimal("33.3333"),
        Decimal("33.3334"),  # half of the 66.6667 that are left, to the even neighbour
        Decimal("33.3333"),
    ]
    assert sum(relief.fee for relief in costs) == Decimal("0.01")
    assert thirds.cost_left == thirds.fee_left == thirds.quantity_left == 0


@pytest.mark.parametrize(
    ("cost", "expected"), [("0.0001", "0"), ("0.0003", "0.0002"), ("0.0005", "0.0002")]
)
def test_a_tie_goes_to_the_even_neighbour(cost, expected):
    assert relieve([lot("2", cost)], Decimal(1)).cost == Decimal(expected)


def test_short_lots_are_relieved_with_negative_cost():
    short = lot("-10", "-1000")

    relief = relieve([short], Decimal(4))

    assert (relief.quantity, relief.cost) == (Decimal(-4), Decimal(-400))
    assert (short.quantity_left, short.cost_left) == (Decimal(-6), Decimal(-600))


def test_more_than_is_held_cannot_be_closed():
    with pytest.raises(AssertionError, match="more to close"):
        relieve([lot("1", "10")], Decimal(2))


def test_long_and_short_lots_never_mix():
    with pytest.raises(AssertionError, match="one direction"):
        relieve([lot("1", "10"), lot("-1", "-10")], Decimal(2))


cents = st.decimals(min_value=0, max_value=10**11, places=4)
shares = st.decimals(min_value=Decimal("0.000000001"), max_value=10**9, places=9)


@given(amount=cents, whole=shares, share=shares)
def test_a_part_is_within_half_a_unit_of_the_exact_share(amount, whole, share):
    share, whole = sorted((share, whole))

    taken = part(amount, share, whole)

    numerator, unit = int(amount * 10**4) * int(share * 10**9), int(whole * 10**9)
    assert 2 * abs(int(taken * 10**4) * unit - numerator) <= unit
