from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connection, transaction

from events.models import Event
from portfolios import ledger
from portfolios.accounts import deposit, freeze, open_account, unfreeze, withdraw
from portfolios.errors import AccountNotFound, AmountInvalid, BoundExceeded, InsufficientFunds
from portfolios.locks import lock_account
from portfolios.models import BOOK_FIELDS, Account, Posting
from tests.portfolios.factories import (
    assert_books_balance,
    assert_ledger_agrees,
    funded_account,
    make_user,
    trade,
)

pytestmark = pytest.mark.django_db


def kinds(account: Account) -> list[str]:
    events = Event.objects.filter(account_id=account.pk).order_by("account_sequence")
    return list(events.values_list("kind", flat=True))


def hold(account: Account, cash: str) -> None:
    """Hold cash as an open order would, without one."""

    class Order:
        account_id, instrument_id = account.pk, 1
        hold_cash = hold_quantity = Decimal(0)

    with transaction.atomic():
        locked = lock_account(account.pk)
        ledger.hold(locked, None, Order(), cash=Decimal(cash))
        locked.save(update_fields=BOOK_FIELDS)


def test_a_new_account_is_funded_through_the_ledger():
    account = funded_account("10000")

    posting = Posting.objects.get(account=account)
    assert (posting.source, posting.target, posting.amount) == ("funding", "cash", 10_000_0000)
    assert Account.objects.get(pk=account.pk).cash == Decimal(10000)
    assert kinds(account) == ["portfolios.account.opened", "portfolios.cash.deposited"]
    assert_books_balance(account)


def test_a_user_may_have_several_accounts_with_numbers_of_their_own():
    user = make_user()

    accounts = [funded_account(user=user) for _ in range(3)]

    assert len({account.number for account in accounts}) == 3
    assert all(len(account.number) == 12 for account in accounts)


def test_a_number_that_is_taken_is_drawn_again(monkeypatch):
    taken = funded_account()
    drawn = iter(taken.number[2:] + "2" * 10)
    monkeypatch.setattr("portfolios.accounts.secrets.choice", lambda _: next(drawn))

    account = funded_account(user=taken.user)

    assert account.number == "PA2222222222"


def test_deposit_and_withdrawal_move_cash_and_leave_their_events():
    account = funded_account("100")

    deposit(account_id=account.pk, amount=Decimal("50.25"), actor="user:1")
    withdraw(account_id=account.pk, amount=Decimal("150.25"), actor="user:1")

    assert Account.objects.get(pk=account.pk).cash == 0
    last = Event.objects.filter(account_id=account.pk).latest("account_sequence")
    assert last.kind == "portfolios.cash.withdrawn"
    assert last.payload == {"transaction": 3, "amount": "150.25", "cash": "0"}
    assert_books_balance(account)


@pytest.mark.parametrize("amount", ["0", "-1", "0.001", "NaN", "Infinity", "-Infinity", "1e14"])
def test_what_is_no_amount_of_dollars_and_cents_is_refused(amount):
    account = funded_account("100")

    for move in (deposit, withdraw):
        with pytest.raises(AmountInvalid):
            move(account_id=account.pk, amount=Decimal(amount), actor="user:1")
    with pytest.raises(AmountInvalid):
        open_account(user=account.user, cash=Decimal(amount), actor="user:1")

    assert Account.objects.get(user=account.user).cash == Decimal(100)
    assert len(kinds(account)) == 2


def test_more_cash_than_an_account_may_hold_is_refused():
    account = funded_account("10000000000000")

    with pytest.raises(BoundExceeded):
        deposit(account_id=account.pk, amount=Decimal("0.01"), actor="user:1")

    assert_books_balance(account)


def test_only_what_no_order_holds_can_be_withdrawn():
    account = funded_account("100")
    hold(account, "60")

    with pytest.raises(InsufficientFunds) as refusal:
        withdraw(account_id=account.pk, amount=Decimal("40.01"), actor="user:1")

    assert refusal.value.extras == {"requested": "40.01", "buying_power": "40"}
    withdraw(account_id=account.pk, amount=Decimal(40), actor="user:1")


def test_the_proceeds_of_a_short_sale_cannot_be_withdrawn():
    account = funded_account("1000")
    trade(account, "sell", "4", "100")

    with pytest.raises(InsufficientFunds):
        withdraw(account_id=account.pk, amount=Decimal("600.01"), actor="user:1")

    withdraw(account_id=account.pk, amount=Decimal(600), actor="user:1")
    assert_ledger_agrees(account)


def test_freezing_is_recorded_with_its_reason_and_once():
    account = funded_account()

    freeze(account_id=account.pk, actor="operator:1", reason="chargeback")
    freeze(account_id=account.pk, actor="operator:1", reason="again")
    assert Account.objects.get(pk=account.pk).frozen
    unfreeze(account_id=account.pk, actor="operator:1", reason="resolved")

    assert not Account.objects.get(pk=account.pk).frozen
    assert kinds(account)[2:] == ["portfolios.account.frozen", "portfolios.account.unfrozen"]
    frozen = Event.objects.get(kind="portfolios.account.frozen")
    assert (frozen.actor, frozen.payload) == ("operator:1", {"reason": "chargeback"})


def test_an_unknown_account_is_refused():
    with pytest.raises(AccountNotFound):
        deposit(account_id=10**9, amount=Decimal(1), actor="user:1")


@pytest.mark.django_db(transaction=True)
def test_deposits_at_the_same_time_all_arrive():
    account = funded_account("1")

    def pay(_: int) -> None:
        try:
            deposit(account_id=account.pk, amount=Decimal(1), actor="user:1")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pay, range(40)))

    assert Account.objects.get(pk=account.pk).cash == Decimal(41)
    assert_books_balance(account)
