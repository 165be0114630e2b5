"""Every invariant of orders is named when somebody breaks it behind the use cases' back."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from portfolios.models import Account, Position, Posting
from portfolios.reconcile import reconcile
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import TradingFloor
from trading.models import Fill, Order

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    """One filled order, one open buy, one open sell."""
    floor = TradingFloor()
    floor.show()
    account = funded_account("10000")
    floor.buy(account, "10")
    floor.pass_time(seconds=1)
    floor.buy(account, "5", limit="90")
    floor.sell(account, "4", limit="120")
    return account


def test_untouched_books_agree(account: Account) -> None:
    assert_books_balance(account)


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (
            lambda: Order.objects.filter(side="buy", status="accepted").update(hold_cash=1),
            {"an order holds what it has left to do", "account holds equal its open orders"},
        ),
        (
            lambda: Account.objects.update(hold_cash=Decimal(7)),
            {"account holds equal its open orders"},
        ),
        (
            lambda: Position.objects.update(hold_quantity=Decimal(3)),
            {"position holds equal its open orders"},
        ),
        (
            lambda: Order.objects.filter(status="filled").update(filled_quantity=Decimal(9)),
            {
                "an order has filled what its fills add up to",
                "an order is filled when all of it is",
            },
        ),
        (
            lambda: Fill.objects.update(cash=Decimal(1)),
            {
                "an order has filled what its fills add up to",
                "a fill is posted once, with its cash, shares and fee",
            },
        ),
        (
            lambda: Fill.objects.all().delete(),
            {
                "an order has filled what its fills add up to",
                "every trade in the ledger has its fill",
            },
        ),
        (
            lambda: Posting.objects.filter(kind="trade").delete(),
            {"a fill is posted once, with its cash, shares and fee"},
        ),
    ],
)
def test_what_was_broken_is_named(
    account: Account, tamper: Callable[[], object], named: set[str]
) -> None:
    tamper()
    report = reconcile([account.pk])
    assert named <= {mismatch.invariant for mismatch in report.mismatches}
