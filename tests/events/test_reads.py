from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, models, transaction

from events.models import Event
from events.reads import Wanted, find_rows, find_together
from portfolios.models import Account, Lot, Position
from quotes.models import Instrument
from tests.portfolios.factories import funded_account, make_instrument
from tests.trading.floor import TradingFloor
from trading.models import Fill, Order

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 10, 7, 16, tzinfo=UTC)


@pytest.fixture
def traded() -> None:
    """Rows of every kind, with columns set and columns not set."""
    floor, account = TradingFloor(), funded_account()
    floor.show()
    floor.buy(account, "2.5")
    floor.buy(account, "1", limit="50")
    floor.show("98", "99")


def position(account: Account, symbol: str) -> Position:
    instrument = make_instrument(symbol)
    return Position.objects.create(account=account, instrument=instrument, updated_at=NOON)


def everything(row: models.Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


@pytest.mark.parametrize("model", [Account, Order, Fill, Event, Position, Lot, Instrument])
def test_rows_are_as_the_model_reads_them(model: type[models.Model], traded: None) -> None:
    usual = list(model._default_manager.order_by("pk"))
    assert usual, "there is something to read"
    found = find_rows(model, id={row.pk for row in usual})

    assert [everything(row) for row in found] == [everything(row) for row in usual]
    assert [row._state.adding for row in found] == [False] * len(usual)
    types = [{name: type(value) for name, value in everything(row).items()} for row in found]
    assert types == [
        {name: type(value) for name, value in everything(row).items()} for row in usual
    ]


def test_pairs_are_read_without_all_that_could_be_paired() -> None:
    """Where one asks for a row of each account, the database reads about as many."""
    accounts = [funded_account() for _ in range(30)]
    instruments = [make_instrument(f"S{n}") for n in range(30)]
    rows = [
        Position(account=account, instrument=instrument, updated_at=NOON)
        for account in accounts
        for instrument in instruments
    ]
    Position.objects.bulk_create(rows)
    pairs = [
        {"account_id": {account.pk}, "instrument_id": instrument.pk}
        for account, instrument in zip(accounts, instruments, strict=True)
    ]
    before = rows_read()
    found = find_rows(Position, either=pairs)
    cost = rows_read() - before

    assert [(row.account_id, row.instrument_id) for row in found] == [
        (account.pk, instrument.pk)
        for account, instrument in zip(accounts, instruments, strict=True)
    ]
    assert cost < 300  # asking for the counters reads some, too


def rows_read() -> int:
    """What MySQL has read for this connection so far; 0 elsewhere."""
    if connection.vendor != "mysql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(value) for _, value in cursor.fetchall())


def test_columns_have_a_value_or_one_of_several() -> None:
    account, other = funded_account(), funded_account()
    rows = [position(account, "B"), position(account, "A"), position(other, "C")]

    assert find_rows(Position, account_id=account.pk) == rows[:2]
    ids = {row.instrument_id for row in rows[1:]}
    assert find_rows(Position, account_id=account.pk, instrument_id=ids) == [rows[1]]
    assert find_rows(Instrument, symbol="C") == [rows[2].instrument]
    assert find_rows(Instrument, symbol="C' OR '1'='1") == []
    assert find_rows(Account, public_id=other.public_id) == [other]


def test_rows_of_several_models_come_together(django_assert_num_queries: Any) -> None:
    account, other = funded_account(), funded_account()
    held = position(account, "A")

    with django_assert_num_queries(1 if connection.vendor == "mysql" else 3):
        found = find_together(
            Wanted(Account, lock=True, id=other.pk),
            Wanted(Position, account_id=account.pk),
            Wanted(Position, account_id=other.pk),
        )
    assert found == [[other], [held], []]
    assert everything(found[1][0]) == everything(held)
    assert find_together(Wanted(Position, id=set()), Wanted(Account, id=other.pk)) == [[], [other]]


def test_none_of_nothing_needs_no_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert find_rows(Position, account_id=1, instrument_id=set()) == []


@pytest.mark.django_db(transaction=True)
def test_nothing_is_locked_outside_a_transaction() -> None:
    account = funded_account()
    with pytest.raises(AssertionError, match="in a transaction"):
        find_rows(Account, lock=True, id=account.pk)
    with transaction.atomic():
        assert find_rows(Account, lock=True, skip_locked=True, id=account.pk) == [account]
