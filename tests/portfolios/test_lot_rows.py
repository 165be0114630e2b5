from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from unittest.mock import patch
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from portfolios import ledger, lot_rows, positions
from portfolios.locks import lock_account
from portfolios.lots import Choice, in_order, open_lot
from portfolios.models import Account, Lot, LotMethod, Position
from portfolios.positions import Applied, apply_execution, new_position
from tests.portfolios.factories import (
    assert_ledger_agrees,
    execution,
    funded_account,
    make_instrument,
    make_user,
)
from tests.portfolios.model import Model

FIFO = LotMethod.FIFO
AT = datetime(2024, 3, 5, 15, tzinfo=UTC)

counts = st.integers(min_value=0, max_value=12)
shares = st.decimals(min_value=0, max_value=15, places=1)
methods = st.sampled_from([LotMethod.FIFO, LotMethod.LIFO, LotMethod.HIFO])
orders = st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 9), st.integers(1, 9), methods)
batches = st.lists(st.lists(orders, min_size=1, max_size=4), min_size=1, max_size=6)


def hold(account: Account, instrument_id: int, lots: int, quantity: str = "1") -> None:
    """Give the account so many lots, as if it had bought them one by one, at three prices."""
    Lot.objects.bulk_create(
        open_lot(
            account_id=account.pk,
            instrument_id=instrument_id,
            execution_id=uuid4(),
            price=Decimal(10 + n % 3),
            quantity=Decimal(quantity),
            cost=Decimal(10).copy_sign(Decimal(quantity)),
            fee=Decimal(0),
            at=AT,
        )
        for n in range(lots)
    )


class SlicesAndTheWhole(TestCase):
    """Lots read in small slices do what all of them would have done."""

    def setUp(self) -> None:
        self.user = make_user()

    @settings(max_examples=40, deadline=None)
    @given(held=st.lists(st.tuples(counts, shares), min_size=1, max_size=4), method=methods)
    def test_the_first_lots_are_found_and_no_slice_more_than_needed(self, held, method) -> None:
        account = funded_account(user=self.user)
        closing = {}
        for n, (lots, wanted) in enumerate(held):
            instrument_id = make_instrument(f"S{n}").pk
            hold(account, instrument_id, lots, quantity=["1", "-1"][n % 2])
            closing[account.pk, instrument_id] = wanted

        with patch.multiple(lot_rows, FIRST_SLICE=2, NEXT_SLICE=3, KEYS_PER_STATEMENT=2):
            found = lot_rows.load(closing, {key: {method} for key in closing})

        for key, wanted in closing.items():
            everything = list(Lot.objects.filter(account=account, instrument=key[1]).order_by("pk"))
            first = in_order(everything, Choice(method))[: len(found[key])]
            assert found[key] == sorted(first, key=lambda lot: lot.pk)
            assert len(found[key]) >= min(wanted, len(everything))
            assert len(found[key]) < wanted + 3

    @settings(max_examples=25, deadline=None)
    @given(batches=batches)
    def test_batches_leave_the_lots_that_the_obvious_books_have(self, batches) -> None:
        account, model = funded_account(user=self.user), Model()
        for batch in batches:
            with patch.multiple(lot_rows, FIRST_SLICE=1, NEXT_SLICE=2):
                book(account, batch)
            for side, quantity, price, method in batch:
                model.execute(side, Decimal(quantity), Decimal(price), Decimal(0), method)

        kept = Lot.objects.filter(account=account).order_by("pk")
        assert [(abs(lot.quantity_left), abs(lot.cost_left)) for lot in kept] == [
            (lot.quantity, lot.cost) for lot in model.lots
        ]
        position = Position.objects.get(account=account)
        assert (position.quantity, position.realized) == (model.quantity, model.realized)
        assert_ledger_agrees(account)


@transaction.atomic
def book(account: Account, batch: list[tuple[str, int, int, LotMethod]]) -> list[Applied]:
    """Book the orders as one batch, reading no more lots than settlement would."""
    key = (account.pk, make_instrument().pk)
    locked = lock_account(account.pk)
    held = positions.load_positions([key])
    executions = [
        execution(
            side, str(quantity), str(price), instrument_id=key[1], at=AT, choice=Choice(method)
        )
        for side, quantity, price, method in batch
    ]
    closing = positions.shares_to_close(held, ((key, one.signed_quantity) for one in executions))
    lots = lot_rows.load(closing, {key: {method for *_, method in batch}}).get(key, [])
    position = held.get(key) or new_position(*key, AT)
    applied = [apply_execution(locked, position, lots, one) for one in executions]
    positions.write([position], applied)
    ledger.save([locked])
    return applied


@pytest.mark.django_db
def test_what_only_opens_reads_no_lots() -> None:
    account = funded_account()
    book(account, [("buy", 3, 10, FIFO)])
    with CaptureQueriesContext(connection) as queries:
        book(account, [("buy", 2, 10, FIFO), ("buy", 1, 10, FIFO)])
    assert [one for one in queries if "SELECT" in one["sql"] and "_lot" in one["sql"]] == []


@pytest.mark.django_db
def test_closing_more_lots_than_a_statement_takes_deletes_them_all() -> None:
    account = funded_account()
    for _ in range(7):
        book(account, [("buy", 1, 10, FIFO)])
    with patch.object(lot_rows, "ROWS_PER_STATEMENT", 2):
        book(account, [("sell", 7, 10, FIFO)])
    assert not Lot.objects.exists()
    assert_ledger_agrees(account)


@pytest.mark.django_db(transaction=True)  # ANALYZE commits
@pytest.mark.parametrize(
    ("others", "method"),
    [(0, FIFO), (20, FIFO), (20, LotMethod.LIFO), (20, LotMethod.HIFO)],
)
def test_a_closing_reads_no_more_rows_of_many_lots_than_of_few(others: int, method) -> None:
    """Nor more where others hold the same instrument, whose lots lie between."""
    instrument_id = make_instrument().pk
    small, large = funded_account(), funded_account()
    crowd = [funded_account(user=small.user) for _ in range(others)]
    hold(small, instrument_id, 40)
    for _ in range(20):
        hold(large, instrument_id, 200)
        for account in crowd:
            hold(account, instrument_id, 10)
    if connection.vendor == "mysql":
        run("ANALYZE TABLE portfolios_lot")

    costs = [cost_of_closing(account, instrument_id, 3, method) for account in (small, large)]

    assert costs[0] == costs[1]
    assert costs[1][0] == lot_rows.FIRST_SLICE


def cost_of_closing(
    account: Account, instrument_id: int, quantity: int, method: LotMethod
) -> tuple[int, int, int]:
    """Lots found, statements, and on MySQL the rows that the storage engine read."""
    before = rows_read()
    with CaptureQueriesContext(connection) as queries:
        key = (account.pk, instrument_id)
        found = lot_rows.load({key: Decimal(quantity)}, {key: {method}})
    return len(found[key]), len(queries), rows_read() - before


@pytest.mark.django_db
def test_named_lots_are_found_wherever_they_stand_and_no_one_elses() -> None:
    account, other, instrument_id = funded_account(), funded_account(), make_instrument().pk
    hold(account, instrument_id, 30)
    hold(other, instrument_id, 1)
    last, theirs = Lot.objects.order_by("pk")[29], Lot.objects.get(account=other)
    key = (account.pk, instrument_id)

    with patch.multiple(lot_rows, FIRST_SLICE=2, NEXT_SLICE=2):
        found = lot_rows.load({key: Decimal(1)}, {key: {LotMethod.SPECIFIC}}, [last.pk, theirs.pk])

    everything = list(Lot.objects.filter(account=account).order_by("pk"))
    assert found == {key: [*everything[:2], last]}


def rows_read() -> int:
    if connection.vendor != "mysql":
        return 0
    return sum(int(value) for _, value in run("SHOW SESSION STATUS LIKE 'Handler_read%'"))


def run(statement: str) -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())
