"""Returns worked out by hand."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from portfolios.performance import Moment, results, time_weighted_return


def moment(equity: str, paid_in: str = "0", paid_out: str = "0") -> Moment:
    return Moment(Decimal(equity), Decimal(paid_in), Decimal(paid_out))


def test_without_flows_the_return_is_profit_by_base():
    found = results(Decimal(100), [moment("110"), moment("99")])

    assert [one.profit for one in found] == [10, -1]
    assert [one.total_return for one in found] == [Decimal("0.1"), Decimal("-0.01")]


def test_a_deposit_is_no_profit_and_dilutes_no_return():
    """10 % on 100, then 1,000 come in, then 10 % on 1,110."""
    found = results(Decimal(100), [moment("110"), moment("1221", paid_in="1000")])

    assert [one.profit for one in found] == [10, 121]
    assert found[1].total_return == Decimal("0.21")


def test_a_withdrawal_is_no_loss_even_of_everything():
    """10 % on 100, and 110 are taken out at the end of it; later 50 come in and earn 4 %."""
    found = results(
        Decimal(100), [moment("0", paid_out="110"), moment("0"), moment("52", paid_in="50")]
    )

    assert [one.profit for one in found] == [10, 10, 12]
    assert found[0].total_return == Decimal("0.1")
    assert found[2].total_return == Decimal("0.144")  # 1.1 × 1.04 − 1


def test_an_account_that_begins_with_nothing_returns_nothing_until_it_is_funded():
    found = results(Decimal(0), [moment("0"), moment("1000", paid_in="1000"), moment("1100")])

    assert [one.total_return for one in found] == [None, 0, Decimal("0.1")]
    assert [one.profit for one in found] == [0, 0, 100]


def test_nothing_at_all_has_no_return():
    assert time_weighted_return(Decimal(5), []) is None


amounts = st.decimals(min_value=1, max_value=10**9, places=2)


@given(base=amounts, worths=st.lists(amounts, min_size=1, max_size=20))
def test_without_flows_the_stretches_telescope(base, worths):
    last = results(base, [Moment(worth) for worth in worths])[-1]

    assert last.profit == worths[-1] - base
    assert last.total_return is not None
    assert abs(last.total_return - (worths[-1] / base - 1)) <= Decimal("1e-9") * worths[-1]


@given(factor=st.decimals(min_value="0.5", max_value=2, places=2), flow=amounts, base=amounts)
def test_what_is_paid_in_between_changes_no_return(factor, flow, base):
    alone = results(base, [Moment(base * factor), Moment(base * factor * factor)])
    paid = base * factor + flow
    joined = results(base, [Moment(base * factor), Moment(paid * factor, flow)])

    assert joined[1].total_return == alone[1].total_return
