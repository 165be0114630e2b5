"""Replacing an order while it fills or is canceled: one of both comes first, never half of each."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from events.errors import OpenbellError
from portfolios.models import Account, Position
from tests.meeting import together
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import TradingFloor, now_of
from trading.models import Fill, Order
from trading.orders import cancel
from trading.replacing import Changes, replace_order

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 10


@pytest.fixture
def account(floor: TradingFloor) -> Account:
    return funded_account("100000")


def resting(floor: TradingFloor, account: Account) -> Order:
    order = floor.buy(account, "10", limit="98")
    floor.pass_time(seconds=1)
    assert now_of(order).status == "new"
    return order


def to_twelve(order: Order) -> Order:
    return replace_order(
        account_id=order.account_id,
        order_id=order.public_id,
        changes=Changes(quantity=Decimal(12)),
        actor="test",
    )


def test_replace_against_fill(floor: TradingFloor, account: Account) -> None:
    """Whichever is first: ten are bought of the old order, or twelve of the new, or of both."""
    for n in range(ROUNDS):
        floor.show("99", "100")
        before = sum(Fill.objects.values_list("quantity", flat=True))
        old = resting(floor, account)
        size = (4, 1_000)[n % 2]
        _, outcome = together(
            lambda size=size: floor.show("96", "97", ask_size=size), lambda old=old: to_twelve(old)
        )
        floor.show("95", "96")
        bought = sum(Fill.objects.values_list("quantity", flat=True)) - before
        ended = now_of(old)
        if isinstance(outcome, Order):
            assert ended.status == "replaced"
            assert now_of(outcome).status == "filled"
            assert ended.filled_quantity + now_of(outcome).filled_quantity == bought == 12
        else:
            assert outcome.code == 42210000
            assert (ended.status, bought) == ("filled", 10)
    assert Position.objects.get().quantity == sum(Fill.objects.values_list("quantity", flat=True))
    assert_books_balance(account)


def test_replace_against_cancel(floor: TradingFloor, account: Account) -> None:
    """Canceled before: nothing to replace. Replaced before: nothing to cancel, the new one is."""
    for _ in range(ROUNDS):
        old = resting(floor, account)

        def end(old: Order = old) -> Any:
            return cancel(account_id=account.pk, order_id=old.public_id, actor="test")

        canceled, replaced = together(end, lambda old=old: to_twelve(old))
        loser = canceled if isinstance(canceled, OpenbellError) else replaced
        assert isinstance(loser, OpenbellError)
        assert loser.code == 42210000
        assert now_of(old).status == ("canceled" if loser is replaced else "replaced")
        if loser is canceled:
            cancel(account_id=account.pk, order_id=replaced.public_id, actor="test")
    account.refresh_from_db()
    assert account.hold_cash == 0
    assert_books_balance(account)


def test_of_three_replacements_one_wins(floor: TradingFloor, account: Account) -> None:
    old = resting(floor, account)
    outcomes = together(*[lambda: to_twelve(old)] * 3)
    assert sum(isinstance(outcome, Order) for outcome in outcomes) == 1
    assert Order.objects.filter(replaces=old).count() == 1
    assert_books_balance(account)
