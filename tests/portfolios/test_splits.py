"""Splits in the books alone: worked examples, and random lives that keep every invariant."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portfolios import dividends, splits
from portfolios.errors import BoundExceeded
from portfolios.locks import lock_account
from portfolios.lots import Choice
from portfolios.models import Account, Entitlement, Lot, LotMethod, Position, Posting
from portfolios.reconcile import ledger_agrees
from portfolios.splits import Ratio
from quotes.calendar import EXCHANGE
from quotes.models import CorporateAction
from quotes.splits import Split
from tests.portfolios.factories import (
    assert_ledger_agrees,
    funded_account,
    make_instrument,
    new_york,
    trade,
)

pytestmark = pytest.mark.django_db

MONDAY = new_york("2024-03-04 12:00")
TUESDAY = date(2024, 3, 5)
CRUMB = Decimal("0.000000001")


@pytest.fixture
def account() -> Account:
    return funded_account("100000")


def action_of(on: date = TUESDAY, **terms) -> CorporateAction:
    day = EXCHANGE.day(on)
    assert day is not None
    return CorporateAction.objects.create(
        instrument=make_instrument(),
        kind="split" if "new_shares" in terms else "cash_dividend",
        ex_on=on,
        due_at=day.overnight_at,
        announced_at=MONDAY,
        **terms,
    )


def split(account: Account, new: int, old: int, on: date = TUESDAY) -> CorporateAction:
    action = action_of(on, new_shares=new, old_shares=old)
    with transaction.atomic():
        splits.book(action, lock_account(account.pk), actor="test")
    return action


def lots(account: Account) -> list[tuple[Decimal, Decimal, Decimal]]:
    rows = Lot.objects.filter(account=account).order_by("pk")
    return [(lot.quantity_left, lot.price, lot.cost_left) for lot in rows]


def test_four_for_one_scales_lots_and_keeps_their_cost(account):
    trade(account, "buy", "10", "100", fee="1", at=MONDAY)
    trade(account, "buy", "5", "130.50", at=MONDAY)
    trade(account, "sell", "2", "120", at=MONDAY)
    split(account, 4, 1)

    position = Position.objects.get()
    assert (position.quantity, position.cost_basis) == (Decimal(52), Decimal("1452.50"))
    assert lots(account) == [
        (Decimal(32), Decimal(25), Decimal(800)),
        (Decimal(20), Decimal("32.625"), Decimal("652.50")),
    ]
    assert position.day_open_quantity == position.quantity
    assert_ledger_agrees(account)

    # 32 × 30 + 8 × 30 − 800 − 261 − the fee that is left of the first lot
    applied = trade(account, "sell", "40", "30", at=MONDAY + timedelta(days=1))
    assert applied.realized == Decimal("138.20")
    assert_ledger_agrees(account)


def test_a_reverse_split_keeps_fractions_to_nine_decimals_and_never_less_than_a_crumb(account):
    trade(account, "buy", "10", "100", at=MONDAY)
    trade(account, "buy", "0.01", "100", at=MONDAY)
    trade(account, "sell", "9.999999999", "100", at=MONDAY)
    split(account, 1, 3)

    assert [lot[0] for lot in lots(account)] == [CRUMB, Decimal("0.003333333")]
    assert_ledger_agrees(account)


def test_a_short_grows_as_what_it_owes_does(account):
    trade(account, "sell", "10", "90", fee="0.30", at=MONDAY)
    split(account, 3, 2)

    assert lots(account) == [(Decimal(-15), Decimal(60), Decimal(-900))]
    assert Posting.objects.get(kind="split").source == "shares"
    assert_ledger_agrees(account)
    applied = trade(account, "buy", "15", "50", at=MONDAY + timedelta(days=1))
    assert applied.realized == Decimal("149.70")  # 900 − 750 − 0.30


def test_it_is_booked_once_and_of_nothing_leaves_no_transaction(account):
    empty = funded_account()
    trade(account, "buy", "10", "100", at=MONDAY)
    action = split(account, 2, 1)
    for one in (account, empty, account, empty):
        with transaction.atomic():
            splits.book(action, lock_account(one.pk), actor="test")

    assert Position.objects.get().quantity == 20
    assert Posting.objects.filter(kind="split").count() == 1
    assert Entitlement.objects.get(account=empty).transaction is None
    assert_ledger_agrees(account, empty)


def test_what_would_leave_its_bounds_stays_as_it_is_and_says_so(account):
    trade(account, "buy", "9000000", "0.01", at=MONDAY)
    action = split(account, 1000, 1)

    entitlement = Entitlement.objects.get(action=action)
    assert "out of bounds" in entitlement.problem
    assert Position.objects.get().quantity == 9_000_000
    assert_ledger_agrees(account)


def test_a_lot_of_which_little_is_left_stays_as_it_is_where_its_column_is_too_small(account):
    trade(account, "buy", "10000000", "0.01", at=MONDAY)
    trade(account, "sell", "9999999", "0.01", at=MONDAY)
    before = lots(account)
    action = split(account, 1000, 1)

    assert "lot out of bounds" in Entitlement.objects.get(action=action).problem
    assert Position.objects.get().quantity == 1
    assert lots(account) == before
    assert_ledger_agrees(account)


def test_a_price_that_grows_too_often_stays_as_it_is(account):
    trade(account, "buy", "10", "1000", at=MONDAY)
    day = TUESDAY
    for _ in range(4):
        action = split(account, 1, 1000, day)
        day = EXCHANGE.next_day(day).date

    # 1,000 × 1,000³ still has its column, 1,000 × 1,000⁴ has not.
    assert "price of a lot out of bounds" in Entitlement.objects.get(action=action).problem
    assert Lot.objects.get().price == Decimal(1000) ** 4
    assert_ledger_agrees(account)


def test_a_day_that_began_with_more_than_its_column_holds_changes_nothing_in_memory(account):
    trade(account, "buy", "10000000", "0.01", at=MONDAY)
    trade(account, "sell", "9999999", "0.01", at=MONDAY + timedelta(days=1))
    trade(account, "sell", "1", "0.01", at=MONDAY + timedelta(days=1))
    trade(account, "buy", "1", "0.01", at=MONDAY + timedelta(days=1))
    position, held = Position.objects.get(), list(Lot.objects.all())
    with pytest.raises(BoundExceeded):
        splits.apply_split(
            account, position, held, at=MONDAY, trade_date=TUESDAY, reference="1000:1:x"
        )
    assert (position.day_open_quantity, position.quantity) == (10_000_000, 1)
    assert held[0].quantity_left == held[0].quantity_opened == 1


def test_a_changed_posting_is_found(account):
    trade(account, "buy", "10", "100", at=MONDAY)
    split(account, 4, 1)
    Posting.objects.filter(kind="split").update(reference="5:1:x")

    assert not all(line.agrees for line in ledger_agrees(Account.objects.get(pk=account.pk)))


@given(
    quantity=st.decimals("0.000000001", "1000000", places=9),
    sign=st.sampled_from([1, -1]),
    new=st.integers(1, 1000),
    old=st.integers(1, 1000),
)
def test_a_lot_is_rounded_by_less_than_the_least_that_can_be_held(quantity, sign, new, old):
    made = Ratio(new, old).of(sign * quantity)

    assert made * sign > 0
    assert abs(made * old - sign * quantity * new) < CRUMB * old


@given(units=st.integers(0, 10**11), new=st.integers(1, 1000), old=st.integers(1, 1000))
def test_a_price_in_units_is_rounded_as_one_in_dollars_is(units, new, old):
    split = Split(1, "AAPL", 0, TUESDAY, new, old)
    dollars = Decimal(units).scaleb(-4)

    assert Decimal(split.price(units)).scaleb(-4) == Ratio(new, old).price(dollars)


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["buy", "sell"]),
            st.decimals("0.000000001", "50", places=9),
            st.decimals("1", "900", places=4),
            st.sampled_from(list(LotMethod)[:3]),
        ),
        st.tuples(st.just("split"), st.integers(1, 20), st.integers(1, 20), st.none()),
        st.tuples(
            st.just("dividend"), st.decimals("0.000001", "9", places=6), st.none(), st.none()
        ),
        st.just(("next day", None, None, None)),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_random_lives_with_splits_and_dividends_keep_every_invariant(steps):
    account, on = funded_account("100000"), EXCHANGE.next_day(TUESDAY)
    for kind, first, second, method in steps:
        before = Position.objects.filter(account=account).first()
        if kind in ("split", "dividend", "next day"):
            on = EXCHANGE.next_day(on.date)
        if kind == "split" and first != second:
            split(account, first, second, on.date)
            if before is not None:
                after = Position.objects.get(pk=before.pk)
                assert (after.cost_basis, after.realized) == (before.cost_basis, before.realized)
        elif kind == "dividend":
            action = action_of(on.date, per_share=first, payable_on=on.date)
            dividends.pay(action, account.pk, actor="test")
        elif kind in ("buy", "sell") and (first * second).quantize(Decimal("0.0001")):
            choice = Choice(method)
            trade(account, kind, f"{first:f}", f"{second:f}", at=on.open_at, choice=choice)
    assert_ledger_agrees(account)


def test_shares_out_of_bounds_change_nothing_in_memory(account):
    trade(account, "buy", "9000000", "0.01", at=MONDAY)
    position, held = Position.objects.get(), list(Lot.objects.all())
    with pytest.raises(BoundExceeded):
        splits.apply_split(
            account, position, held, at=MONDAY, trade_date=TUESDAY, reference="1000:1:x"
        )
    assert position.quantity == held[0].quantity_left == 9_000_000
