"""A split that is booked between the reading of prices and the account's lock: prices and
quantities always go together where something is decided by them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.errors import Unavailable
from portfolios import borrowing
from portfolios.accounts import deposit, open_account, transfer, withdraw
from portfolios.configurations import configure
from portfolios.errors import InsufficientFunds, InsufficientMargin
from portfolios.models import Account, Position
from quotes.corporate_actions import announce_split
from tests.portfolios.factories import (
    assert_books_balance,
    make_instrument,
    margin_account,
    new_york,
)
from tests.trading.floor import TradingFloor
from trading import corporate_actions
from trading.errors import InsufficientBuyingPower
from trading.replacing import Changes, replace_order

NIGHT = new_york("2013-10-08 03:00")


@pytest.fixture
def floor(db) -> TradingFloor:
    floor = TradingFloor()
    make_instrument("MSFT")
    floor.play(floor.quote("100", "100"), floor.quote("100", "100", symbol="MSFT"))
    return floor


def long(floor: TradingFloor, quantity: str = "100", **terms: str) -> Account:
    account = margin_account(**terms)
    floor.buy(account, quantity, limit="100")
    floor.pass_time(seconds=1)
    return account


def short(floor: TradingFloor) -> Account:
    account = margin_account()
    floor.sell(account, "50", limit="100")
    floor.pass_time(seconds=1)
    return account


def book_beside(monkeypatch: pytest.MonkeyPatch, new: int, old: int) -> list[int]:
    """Have the split booked right after prices were read, once; the list tells of each reading."""
    announce_split(
        symbol="AAPL", new_shares=new, old_shares=old, ex_on=date(2013, 10, 8), actor="test"
    )
    return beside(monkeypatch, lambda: corporate_actions.carry_out(NIGHT))


def beside(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> list[int]:
    read, readings = borrowing.read_marks, []

    def read_and_change(account_id: int) -> borrowing.OwnMarks:
        marks = read(account_id)
        readings.append(account_id)
        if len(readings) == 1:
            change()
        return marks

    monkeypatch.setattr(borrowing, "read_marks", read_and_change)
    return readings


def test_an_order_is_not_accepted_on_equity_that_a_split_only_seemed_to_make(floor, monkeypatch):
    account = long(floor)
    readings = book_beside(monkeypatch, 4, 1)

    with pytest.raises(InsufficientBuyingPower) as refused:
        floor.buy(account, "200", limit="100", symbol="MSFT")

    assert refused.value.extras["buying_power"] == "10000"
    assert len(readings) == 2
    assert Position.objects.get(account=account).quantity == 400
    assert_books_balance(account)


def test_an_order_is_not_refused_for_a_loss_that_a_reverse_split_only_seemed_to_make(
    floor, monkeypatch
):
    account = long(floor)
    book_beside(monkeypatch, 1, 10)

    assert floor.buy(account, "100", limit="100", symbol="MSFT").status == "accepted"


def test_a_replacement_is_judged_by_prices_that_go_with_the_books(floor, monkeypatch):
    account = long(floor)
    order = floor.buy(account, "1", limit="90", symbol="MSFT")
    floor.pass_time(seconds=1)
    book_beside(monkeypatch, 4, 1)

    with pytest.raises(InsufficientBuyingPower):
        replace_order(
            account_id=account.pk,
            order_id=order.public_id,
            changes=Changes(quantity=Decimal(200), limit_price=Decimal(100)),
            actor="test",
        )
    assert_books_balance(account)


def test_cash_that_shorts_need_is_not_paid_out(floor, monkeypatch):
    account = short(floor)
    other = open_account(user=account.user, cash=Decimal(1), actor="test")
    readings = book_beside(monkeypatch, 1, 10)

    with pytest.raises(InsufficientFunds) as refused:
        withdraw(account_id=account.pk, amount=Decimal(9000), actor="test")
    assert refused.value.extras["buying_power"] == "7500"
    with pytest.raises(InsufficientFunds):
        transfer(source_id=account.pk, target_id=other.pk, amount=Decimal(9000), actor="test")

    assert len(readings) == 3
    assert Position.objects.get(account=account).quantity == -5
    assert_books_balance(account, other)


def test_a_multiplier_is_lowered_only_as_far_as_the_books_allow(floor, monkeypatch):
    account = long(floor, "900", multiplier="4", cash="30000")
    book_beside(monkeypatch, 4, 1)

    with pytest.raises(InsufficientMargin):
        configure(account_id=account.pk, changes={"max_margin_multiplier": "2"}, actor="test")
    assert Account.objects.get(pk=account.pk).multiplier == 4


def test_what_else_is_booked_meanwhile_takes_no_second_reading(floor, monkeypatch):
    account = long(floor)
    readings = beside(
        monkeypatch, lambda: deposit(account_id=account.pk, amount=Decimal(1), actor="test")
    )

    floor.buy(account, "1", limit="90")

    assert len(readings) == 1


def test_where_nothing_was_booked_nothing_is_asked_under_the_lock(floor):
    account = long(floor)
    marks = borrowing.read_marks(account.pk)
    with CaptureQueriesContext(connection) as queries:
        assert marks.go_with(Account.objects.get(pk=account.pk))
    assert len(queries) == 1  # the account


def test_it_gives_up_in_the_end_and_changes_nothing(floor, monkeypatch):
    account = long(floor)
    monkeypatch.setattr(borrowing.OwnMarks, "go_with", lambda *_: False)

    with pytest.raises(Unavailable, match="split"):
        withdraw(account_id=account.pk, amount=Decimal(1), actor="test")
    assert Account.objects.get(pk=account.pk).cash == 0
