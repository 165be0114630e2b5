from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from portfolios import ledger
from portfolios.errors import BoundExceeded
from portfolios.ledger import Move
from portfolios.locks import lock_account
from portfolios.models import Account, Ledger, Position, Posting, PostingKind
from tests.portfolios.factories import assert_ledger_agrees, funded_account, new_york

AT = new_york("2024-03-05 10:00")


@dataclass
class Order:
    """What the ledger needs to know of an order."""

    account_id: int = 1
    instrument_id: int = 1
    hold_cash: Decimal = Decimal(0)
    hold_quantity: Decimal = Decimal(0)


def draft(account: Account, *moves: Move) -> list[Posting]:
    drafted = ledger.draft(
        account, kind=PostingKind.DEPOSIT, moves=moves, at=AT, trade_date=AT.date()
    )
    return drafted.postings


def usd(source: Ledger, target: Ledger, amount: str) -> Move:
    return Move.usd(source, target, Decimal(amount))


@pytest.mark.parametrize("amount", ["0", "-1"])
def test_only_a_positive_amount_moves(amount):
    with pytest.raises(AssertionError):
        usd(Ledger.CASH, Ledger.STREET, amount)


@pytest.mark.parametrize(
    ("instrument_id", "source", "target"),
    [
        (None, Ledger.CASH, Ledger.CASH),
        (None, Ledger.CASH, Ledger.SHARES),
        (1, Ledger.CASH, Ledger.STREET),
    ],
)
def test_assets_stay_in_their_own_ledgers(instrument_id, source, target):
    with pytest.raises(AssertionError):
        Move(instrument_id, source, target, Decimal(1))


def test_transactions_are_numbered_per_account_and_moves_within():
    account = Account(pk=1)
    draft(account, usd(Ledger.FUNDING, Ledger.CASH, "10"))

    postings = draft(
        account, usd(Ledger.CASH, Ledger.STREET, "3"), usd(Ledger.CASH, Ledger.FEES, "1")
    )

    assert [(one.transaction, one.n, one.amount) for one in postings] == [
        (2, 1, 3_0000),
        (2, 2, 1_0000),
    ]
    assert account.cash == Decimal(6)


def test_cash_beyond_its_bound_is_refused_before_anything_changed():
    account = Account(pk=1, cash=Decimal(10**13))

    with pytest.raises(BoundExceeded) as refusal:
        draft(account, usd(Ledger.FUNDING, Ledger.CASH, "0.01"))

    assert refusal.value.extras["balance"] == "10000000000000.01"
    assert (account.cash, account.transaction_sequence) == (Decimal(10**13), 0)


def test_an_amount_finer_than_the_ledger_is_refused_not_rounded():
    with pytest.raises(ValueError, match="decimals"):
        draft(Account(pk=1), usd(Ledger.FUNDING, Ledger.CASH, "0.00001"))


def test_a_late_posting_counts_to_the_day_already_begun():
    account = Account(pk=1)
    tomorrow = AT.date().replace(day=6)
    moves = [usd(Ledger.FUNDING, Ledger.CASH, "10")]
    ledger.draft(account, kind=PostingKind.DEPOSIT, moves=moves, at=AT, trade_date=tomorrow)

    draft(account, *moves)

    assert account.day_on == tomorrow
    assert account.day_open_cash == account.cash, "what is paid in is no profit of the day"


@pytest.mark.django_db
def test_the_database_itself_refuses_a_posting_that_moves_nothing():
    account = funded_account()
    wrong = Posting.objects.get()
    wrong.pk, wrong.n, wrong.amount = None, 2, 0

    with pytest.raises(IntegrityError), transaction.atomic():
        wrong.save()

    assert_ledger_agrees(account)


@pytest.mark.django_db
def test_shares_are_not_posted_without_their_position():
    account = funded_account()
    shares = Move(1, Ledger.STREET, Ledger.SHARES, Decimal(1))

    with pytest.raises(AssertionError, match="position"), transaction.atomic():
        ledger.post(
            lock_account(account.pk),
            kind=PostingKind.TRADE,
            moves=[shares],
            at=AT,
            trade_date=AT.date(),
        )


def test_a_hold_is_set_anew_and_moves_the_totals_by_the_difference():
    account, position = Account(pk=1), Position(account_id=1, instrument_id=1)
    order, other = Order(), Order()
    ledger.hold(account, position, order, cash=Decimal(100), quantity=Decimal(7))
    ledger.hold(account, position, other, cash=Decimal(50))

    ledger.hold(account, position, order, cash=Decimal(40), quantity=Decimal(2))

    assert (order.hold_cash, order.hold_quantity) == (Decimal(40), Decimal(2))
    assert (account.hold_cash, position.hold_quantity) == (Decimal(90), Decimal(2))


def test_a_released_order_holds_nothing():
    account, position, order = Account(pk=1), Position(account_id=1, instrument_id=1), Order()
    ledger.hold(account, position, order, cash=Decimal(100), quantity=Decimal(7))

    ledger.release(account, position, order)
    ledger.release(account, position, order)

    assert (order.hold_cash, order.hold_quantity) == (0, 0)
    assert (account.hold_cash, position.hold_quantity) == (0, 0)


@pytest.mark.parametrize(
    ("order", "position", "amounts"),
    [
        (Order(account_id=2), None, {"cash": Decimal(1)}),
        (Order(), None, {"quantity": Decimal(1)}),
        (Order(), Position(account_id=1, instrument_id=2), {"quantity": Decimal(1)}),
        (Order(), Position(account_id=2, instrument_id=1), {"quantity": Decimal(1)}),
        (Order(), None, {"cash": Decimal(-1)}),
    ],
)
def test_a_hold_of_somebody_else_or_of_less_than_nothing_is_a_bug(order, position, amounts):
    with pytest.raises(AssertionError):
        ledger.hold(Account(pk=1), position, order, **amounts)


holds = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.decimals(min_value=0, max_value=1000, places=4),
        st.decimals(min_value=0, max_value=1000, places=9),
    )
)


@given(holds)
def test_totals_are_always_the_sum_of_the_orders(changes):
    account, position = Account(pk=1), Position(account_id=1, instrument_id=1)
    orders = [Order() for _ in range(5)]

    for index, cash, quantity in changes:
        ledger.hold(account, position, orders[index], cash=cash, quantity=quantity)

    assert account.hold_cash == sum(order.hold_cash for order in orders)
    assert position.hold_quantity == sum(order.hold_quantity for order in orders)
