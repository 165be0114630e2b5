"""Accounts with money and trades, made through the use cases so that their books are right."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.db import transaction

from portfolios import ledger, lot_rows, positions
from portfolios.accounts import open_account
from portfolios.configurations import configure
from portfolios.locks import lock_account
from portfolios.lots import OLDEST_FIRST, Choice
from portfolios.models import Account, Lot
from portfolios.positions import Applied, Execution, apply_execution, new_position
from portfolios.reconcile import CHECKS, reconcile
from quotes.amounts import EXACT, rounded
from quotes.calendar import EXCHANGE, NEW_YORK
from quotes.models import Instrument

_numbers = count(1)


def make_user(**fields: Any) -> Any:
    name = f"trader{next(_numbers)}"
    return get_user_model().objects.create_user(**{"username": name, "password": name, **fields})


def make_instrument(symbol: str = "AAPL", **fields: Any) -> Instrument:
    """The instrument of this symbol; made with these fields if it is new."""
    return Instrument.objects.get_or_create(symbol=symbol, defaults=fields)[0]


def funded_account(cash: str = "10000", user: Any = None) -> Account:
    """An open account of a user (a new one unless given) with a first deposit."""
    return open_account(user=user or make_user(), cash=Decimal(cash), actor="test")


def margin_account(cash: str = "10000", multiplier: str = "2") -> Account:
    """A funded account that may borrow."""
    account = funded_account(cash)
    return configure(
        account_id=account.pk, changes={"max_margin_multiplier": multiplier}, actor="test"
    )


def execution(
    side: str,
    quantity: str,
    price: str,
    *,
    fee: str = "0",
    instrument_id: int = 1,
    at: datetime | None = None,
    choice: Choice = OLDEST_FIRST,
) -> Execution:
    """An execution at its price, now unless told otherwise."""
    at = at or datetime.now(UTC)
    return Execution(
        execution_id=uuid4(),
        instrument_id=instrument_id,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        cash=rounded(EXACT.multiply(Decimal(quantity), Decimal(price))),
        fee=Decimal(fee),
        at=at,
        trade_date=trade_date(at),
        choice=choice,
    )


def trade_date(at: datetime) -> date:
    """The trade date of an instant at the exchanges, where these tests trade."""
    return EXCHANGE.trading_date(at)


def new_york(text: str) -> datetime:
    """ "2024-03-05 10:00" in New York, as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


@transaction.atomic
def trade(account: Account, side: str, quantity: str, price: str, **fields: Any) -> Applied:
    """Book an execution that no order stands behind: for tests of the books alone."""
    locked = lock_account(account.pk)
    instrument = fields.pop("instrument", None) or make_instrument()
    one = execution(side, quantity, price, instrument_id=instrument.pk, **fields)
    key = (locked.pk, instrument.pk)
    position = positions.load_positions([key]).get(key) or new_position(*key, one.at)
    named = Lot.objects.filter(execution_id__in=one.choice.named).values_list("pk", flat=True)
    loaded = lot_rows.load({key: one.quantity}, {key: {one.choice.method}}, list(named))
    applied = apply_execution(locked, position, loaded[key], one)
    positions.write([position], [applied])
    ledger.save([locked])
    return applied


def assert_books_balance(*accounts: Account) -> None:
    """Every invariant between accounts, ledger, orders, fills and events holds."""
    report = reconcile([account.pk for account in accounts])
    assert report.mismatches == []


def assert_ledger_agrees(*accounts: Account) -> None:
    """The invariants of this app hold: for tests that trade without orders."""
    report = reconcile([account.pk for account in accounts], CHECKS)
    assert report.mismatches == []
