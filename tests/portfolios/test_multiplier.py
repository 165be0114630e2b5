from __future__ import annotations

from decimal import Decimal

import pytest

from events.models import Event
from portfolios.accounts import withdraw
from portfolios.configurations import configuration, configure
from portfolios.errors import InsufficientFunds, InsufficientMargin
from portfolios.models import Account
from portfolios.queries import account_summary
from portfolios.wire import account_json
from tests.portfolios.factories import assert_ledger_agrees, funded_account, trade

pytestmark = pytest.mark.django_db


def choose(account: Account, multiplier: str) -> Account:
    return configure(
        account_id=account.pk, changes={"max_margin_multiplier": multiplier}, actor="key:1"
    )


def shown(account: Account) -> dict[str, str]:
    account.refresh_from_db()
    return account_json(account, account_summary(account))


def test_a_cash_account_becomes_a_margin_account_and_back():
    account = choose(funded_account("10000"), "2")
    assert configuration(account)["max_margin_multiplier"] == "2"
    assert shown(account)["buying_power"] == "20000"

    account = choose(account, "1")
    assert shown(account)["buying_power"] == "10000"
    (_, back) = Event.objects.filter(kind="portfolios.account.configured").order_by("id")
    assert back.payload == {
        "before": {"max_margin_multiplier": "2"},
        "after": {"max_margin_multiplier": "1"},
    }


def test_the_account_says_what_margin_it_needs_and_has():
    account = choose(funded_account("10000"), "2")
    trade(account, "buy", "150", "100")

    numbers = shown(account)

    assert {name: numbers[name] for name in NUMBERS} == NUMBERS
    assert numbers["shorting_enabled"] is True


NUMBERS = {
    "multiplier": "2",
    "cash": "-5000",
    "equity": "10000",
    "long_market_value": "15000",
    "initial_margin": "7500",
    "maintenance_margin": "4500",
    "buying_power": "5000",
    "regt_buying_power": "5000",
    "non_marginable_buying_power": "2500",
    "daytrading_buying_power": "0",
    "sma": "2500",
}


def test_who_has_borrowed_cannot_go_back_to_a_cash_account():
    account = choose(funded_account("10000"), "2")
    trade(account, "buy", "150", "100")

    with pytest.raises(InsufficientMargin) as refused:
        choose(account, "1")

    assert refused.value.extras == {"equity": "10000", "lacking": "5000"}
    account.refresh_from_db()
    assert account.multiplier == 2


def test_nor_who_is_short():
    account = choose(funded_account("10000"), "2")
    trade(account, "sell", "1", "100")

    with pytest.raises(InsufficientMargin):
        choose(account, "1")


def test_from_four_times_to_twice_goes_as_far_as_half_is_covered():
    account = choose(funded_account("30000"), "4")
    trade(account, "buy", "600", "100")
    choose(account, "2")

    other = choose(funded_account("30000"), "4")
    trade(other, "buy", "601", "100")
    with pytest.raises(InsufficientMargin) as refused:
        choose(other, "2")
    assert refused.value.extras["lacking"] == "50"


def test_what_was_borrowed_or_came_from_a_short_sale_is_not_paid_out():
    account = choose(funded_account("10000"), "2")
    trade(account, "sell", "40", "100")  # cash 14,000, of which 4,000 are owed in shares

    with pytest.raises(InsufficientFunds) as refused:
        withdraw(account_id=account.pk, amount=Decimal("8000.01"), actor="test")
    assert refused.value.extras["buying_power"] == "8000"  # 10,000 less half of 4,000

    withdraw(account_id=account.pk, amount=Decimal(8000), actor="test")
    assert_ledger_agrees(account)


def test_a_portfolio_bought_on_credit_is_no_cash():
    account = choose(funded_account("10000"), "2")
    trade(account, "buy", "120", "100")  # cash −2,000, excess 4,000

    with pytest.raises(InsufficientFunds) as refused:
        withdraw(account_id=account.pk, amount=Decimal("0.01"), actor="test")
    assert refused.value.extras["buying_power"] == "0"
