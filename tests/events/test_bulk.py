from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import transaction

from events import bulk
from events.bulk import update_rows
from portfolios.models import Position
from tests.portfolios.factories import funded_account, make_instrument

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 10, 7, 16, tzinfo=UTC)


def positions(count: int) -> list[Position]:
    account = funded_account()
    for number in range(count):
        Position.objects.create(
            account=account, instrument=make_instrument(f"S{number}"), updated_at=NOON
        )
    return list(Position.objects.order_by("pk"))


def test_each_row_gets_its_own_values_and_nothing_else_changes() -> None:
    rows = positions(5)
    for number, row in enumerate(rows[:4]):
        row.quantity = Decimal(number) / 8
        row.day_on = None if number % 2 else NOON.date()
        row.cost_basis = Decimal(99)  # not written
    with transaction.atomic():
        update_rows(rows[:4], ["quantity", "day_on"])

    stored = list(Position.objects.order_by("pk"))
    assert [row.quantity for row in stored] == [
        0,
        Decimal("0.125"),
        Decimal("0.25"),
        Decimal("0.375"),
        0,
    ]
    assert [row.day_on is None for row in stored] == [False, True, False, True, True]
    assert {row.cost_basis for row in stored} == {0}


def test_many_rows_take_few_statements(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: object
) -> None:
    rows = positions(7)
    monkeypatch.setattr(bulk, "CHUNK", 3)
    for row in rows:
        row.quantity = Decimal(row.pk)
    with transaction.atomic(), django_assert_num_queries(3):  # type: ignore[operator]
        update_rows(rows, ["quantity"])
    assert all(row.quantity == row.pk for row in Position.objects.all())


def test_no_rows_need_no_statement(django_assert_num_queries: object) -> None:
    with transaction.atomic(), django_assert_num_queries(0):  # type: ignore[operator]
        update_rows([], ["quantity"])
