"""A wrong corporate action is taken back: the inverse, for whoever has not traded since."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolios.accounts import close_account, withdraw
from portfolios.models import Account, Entitlement, Lot, Position
from portfolios.splits import Ratio
from quotes import corporate_actions
from quotes.models import CorporateAction, Instrument
from tests.portfolios.factories import assert_books_balance, new_york
from tests.trading import test_dividends, test_splits
from tests.trading.floor import now_of
from tests.trading.test_splits import NIGHT, Killed, holder, short_seller, summary_of
from trading import corporate_actions as carrying
from trading.models import TimeInForce

THURSDAY = new_york("2013-10-10 12:00")
MORNING = new_york("2013-10-08 04:00")


def reverse(action: CorporateAction) -> None:
    corporate_actions.reverse(action_id=action.pk, actor="operator:1")


def lots(account: Account) -> list[tuple[Decimal, ...]]:
    rows = Lot.objects.filter(account=account).order_by("pk")
    return [(lot.quantity_left, lot.quantity_opened, lot.price, lot.cost_left) for lot in rows]


@pytest.mark.parametrize(("new", "old"), [(4, 1), (1, 3), (3, 2)])
def test_a_split_taken_back_leaves_the_books_as_they_were(floor, new, old):
    long, short = holder(floor, "7"), short_seller(floor)
    before = [(summary_of(one).equity, lots(one)) for one in (long, short)]
    action = test_splits.announce(new, old)
    floor.play(until=NIGHT)
    order = floor.sell(long, "1", limit="500", time_in_force=TimeInForce.GTC)
    reverse(action)
    floor.play(until=MORNING)

    assert [(summary_of(one).equity, lots(one)) for one in (long, short)] == before
    assert now_of(order).status == "canceled"
    action.refresh_from_db()
    assert action.status == "reversed"
    assert not Instrument.objects.get().halted
    assert_books_balance(long, short)


def test_who_traded_since_keeps_the_split_and_is_listed(floor):
    kept, traded = holder(floor), holder(floor)
    action = test_splits.announce()
    floor.play(until=NIGHT)
    floor.play(floor.quote("24.90", "25.10", at=new_york("2013-10-08 12:00")))
    floor.sell(traded, "4", limit="24")
    floor.show("24.90", "25.10")
    reverse(action)
    floor.show("99", "100")

    assert Position.objects.get(account=kept).quantity == 10
    assert Position.objects.get(account=traded).quantity == 36
    (listed,) = Entitlement.objects.exclude(problem="")
    assert listed.account == traded
    assert "moved since" in listed.problem
    assert_books_balance(kept, traded)


def test_a_dividend_is_taken_back_from_those_who_got_it_and_given_back_to_those_who_paid(floor):
    long, short = holder(floor, "10"), short_seller(floor)
    before = [test_dividends.cash_of(one) for one in (long, short)]
    action = test_dividends.announce()
    floor.play(until=THURSDAY)
    assert [test_dividends.cash_of(one) for one in (long, short)] != before
    reverse(action)
    floor.pass_time(seconds=1)

    assert [test_dividends.cash_of(one) for one in (long, short)] == before
    with pytest.raises(corporate_actions.NotDone):
        reverse(action)
    assert_books_balance(long, short)


def test_who_has_spent_a_dividend_or_is_closed_keeps_it_and_is_listed(floor):
    spent, held, closed, _ = accounts = [holder(floor, "10") for _ in range(4)]
    action = test_dividends.announce("1")
    floor.play(until=THURSDAY)
    withdraw(account_id=spent.pk, amount=test_dividends.cash_of(spent), actor="test")
    close_account(account_id=closed.pk, actor="test")
    order = floor.buy(held, "1020", limit="97.06", time_in_force=TimeInForce.GTC)
    before = [test_dividends.cash_of(one) for one in accounts]
    reverse(action)
    floor.pass_time(seconds=1)

    taken = [now - test_dividends.cash_of(one) for one, now in zip(accounts, before, strict=True)]
    assert taken == [0, 0, 0, 10]
    assert now_of(order).status == "new"
    listed = {one.account: one.problem for one in Entitlement.objects.exclude(problem="")}
    assert listed == {
        spent: "not taken back: of 10 USD only 0 are there and free",
        held: "not taken back: of 10 USD only 8.8 are there and free",
        closed: "not taken back: the account is closed",
    }
    assert_books_balance(*accounts)


def test_killed_at_any_account_it_is_taken_back_once(floor, monkeypatch):
    accounts = [holder(floor) for _ in range(3)]
    action = test_splits.announce()
    floor.play(until=NIGHT)
    reverse(action)
    book, calls = carrying._split_or_end_some, iter(range(100))

    def die(*args):
        done = book(*args)
        if next(calls) in (0, 2):
            raise Killed
        return done

    monkeypatch.setattr(carrying, "_split_or_end_some", die)
    for _ in range(2):
        with pytest.raises(Killed):
            carrying.carry_out(NIGHT)
        assert Instrument.objects.get().halt_reason == "AAPL split 4:1 is being taken back"
        # Each by its own shares: those with 10 at 99.5, those with 40 at 24.875.
        assert {summary_of(one).equity for one in accounts} == {Decimal("99995")}
    carrying.carry_out(NIGHT)

    assert {one.quantity for one in Position.objects.all()} == {Decimal(10)}
    assert not Instrument.objects.get().halted
    assert_books_balance(*accounts)


@pytest.mark.parametrize("step", ["note_progress", "finish"])
@pytest.mark.parametrize("announce", [test_dividends.announce, test_splits.announce])
def test_a_former_owner_that_wakes_late_leaves_nobody_out(floor, monkeypatch, announce, step):
    """It stood still before that step; meanwhile all was done, and the reversal has begun."""
    accounts = [holder(floor) for _ in range(3)]
    books = [(summary_of(one).equity, lots(one)) for one in accounts]
    action = announce()
    go_on = getattr(corporate_actions, step)

    def stand_still(stale, **how):
        monkeypatch.setattr(corporate_actions, step, go_on)
        carrying.carry_out(action.due_at)
        reverse(action)
        corporate_actions.begin(action.pk, actor="engine")
        return go_on(stale, **how)

    monkeypatch.setattr(corporate_actions, step, stand_still)
    floor.play(until=THURSDAY)

    action.refresh_from_db()
    assert action.status == "reversed"
    assert Entitlement.objects.filter(reversal=None).count() == 0 < Entitlement.objects.count()
    assert [(summary_of(one).equity, lots(one)) for one in accounts] == books
    assert_books_balance(*accounts)


def test_only_what_is_done_is_taken_back(floor):
    with pytest.raises(corporate_actions.NotDone):
        reverse(test_splits.announce())


@given(
    quantity=st.decimals("0.0001", "100000", places=4),
    new=st.integers(1, 100),
    old=st.integers(1, 100),
)
def test_quantities_of_few_decimals_come_back_exactly(quantity, new, old):
    assert Ratio(old, new, True).of(Ratio(new, old).of(quantity)) == quantity
