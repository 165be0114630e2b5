from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from events import bulk
from events.bulk import insert_row, insert_rows, new_row, one_trip, update_rows
from events.models import Event
from events.reads import find_rows
from portfolios.models import Position
from quotes.calendar import NEW_YORK
from tests.portfolios.factories import funded_account, make_instrument

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 10, 7, 16, tzinfo=UTC)


class Undone(Exception):
    """The transaction goes no further."""


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


def test_rows_that_get_the_same_value_get_it_and_no_others(
    django_assert_num_queries: object,
) -> None:
    rows = positions(4)
    for number, row in enumerate(rows[:3]):
        row.quantity, row.updated_at = Decimal(7), NOON + timedelta(days=1)
        row.day_flow = Decimal(number)
    with transaction.atomic(), django_assert_num_queries(1):  # type: ignore[operator]
        update_rows(rows[:3], ["quantity", "updated_at", "day_flow"])

    stored = Position.objects.order_by("pk")
    assert [row.quantity for row in stored] == [7, 7, 7, 0]
    assert [row.day_flow for row in stored] == [0, 1, 2, 0]
    assert [row.updated_at - NOON for row in stored] == [timedelta(days=1)] * 3 + [timedelta()]


def test_many_rows_take_few_statements(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: object
) -> None:
    rows = positions(7)
    monkeypatch.setattr(bulk, "UPDATED", 3)
    for row in rows:
        row.quantity = Decimal(row.pk)
    with transaction.atomic(), django_assert_num_queries(3):  # type: ignore[operator]
        update_rows(rows, ["quantity"])
    assert all(row.quantity == row.pk for row in Position.objects.all())


def test_what_is_as_it_was_read_is_not_written(django_assert_num_queries: object) -> None:
    rows = find_rows(Position, account_id={row.account_id for row in positions(2)})
    Position.objects.update(hold_quantity=5, day_flow=5)
    rows[1].quantity = Decimal(3)
    with transaction.atomic():
        update_rows(rows, ["quantity", "hold_quantity"])
        with django_assert_num_queries(0):  # type: ignore[operator]
            update_rows(rows, ["day_flow"])

    stored = Position.objects.order_by("pk")
    assert [(row.quantity, row.hold_quantity) for row in stored] == [(0, 5), (3, 5)]


def test_what_is_written_and_then_as_it_was_read_again_is_written_again() -> None:
    (row,) = find_rows(Position, account_id=positions(1)[0].account_id)
    for quantity in (3, 0):
        row.quantity = Decimal(quantity)
        with transaction.atomic():
            update_rows([row], ["quantity"])
        assert Position.objects.get().quantity == quantity


def test_what_was_written_and_undone_is_written_again() -> None:
    (row,) = find_rows(Position, account_id=positions(1)[0].account_id)
    row.quantity = Decimal(3)
    with suppress(Undone), transaction.atomic():
        update_rows([row], ["quantity"])
        raise Undone
    with transaction.atomic():
        update_rows([row], ["quantity"])
    assert Position.objects.get().quantity == 3


def test_no_rows_need_no_statement(django_assert_num_queries: object) -> None:
    with transaction.atomic(), django_assert_num_queries(0):  # type: ignore[operator]
        update_rows([], ["quantity"])


@pytest.mark.parametrize(
    "payload", [{"a": "it's 100 % “x”\\", "n": [1, None, 2.5]}, {"a": "“x” -- ; /* \x00"}, {}]
)
def test_new_rows_come_back_as_they_went(payload: dict[str, object]) -> None:
    event = new_row(
        Event,
        kind="test.made",
        subject="a '%s' \\ subject",
        actor="user:1",
        account_id=7,
        account_sequence=2**62,
        recorded_at=NOON.astimezone(NEW_YORK),
        payload=payload,
    )
    with transaction.atomic():
        insert_rows([event])

    (stored,) = find_rows(Event, kind="test.made")
    assert stored == Event.objects.get()
    assert not stored._state.adding
    for field in ("kind", "subject", "account_sequence", "recorded_at", "at", "payload", "hash"):
        assert getattr(stored, field) == getattr(event, field), field


def test_a_new_row_has_the_defaults_of_its_model() -> None:
    made = new_row(Position, account_id=1, instrument_id=2, updated_at=NOON)
    usual = Position(account_id=1, instrument_id=2, updated_at=NOON)
    fields = [field.attname for field in Position._meta.concrete_fields]
    assert {name: getattr(made, name) for name in fields} == {
        name: getattr(usual, name) for name in fields
    }
    with pytest.raises(AssertionError, match="no such columns"):
        new_row(Position, account=1)


def test_rows_that_break_a_rule_of_the_table_are_refused() -> None:
    (position,) = positions(1)
    position.hold_quantity = Decimal(-1)
    with pytest.raises(IntegrityError), transaction.atomic():
        update_rows([position], ["hold_quantity"])


def event(subject: str, sequence: int | None = None, account_id: int | None = None) -> Event:
    return new_row(
        Event, kind="test.happened", actor="test", subject=subject, account_sequence=sequence,
        account_id=account_id, recorded_at=NOON,
    )  # fmt: skip


@transaction.atomic
def in_one_trip(rows: list[Event]) -> None:
    with one_trip():
        for row in rows:
            insert_row(row)


def test_what_goes_in_one_trip_is_stored_in_order_and_has_its_keys(
    django_assert_num_queries: object,
) -> None:
    position = positions(1)[0]
    position.quantity = Decimal(3)
    first, second = event("first % one"), event("second")
    trips = 1 if connection.vendor == "mysql" else 3
    counted = django_assert_num_queries(trips)  # type: ignore[operator]
    with transaction.atomic(), counted, one_trip():
        insert_row(first)
        update_rows([position], ["quantity"])
        insert_row(second)

    assert Event.objects.get(pk=first.pk).subject == "first % one"
    assert Event.objects.get(pk=second.pk).subject == "second"
    assert Position.objects.get().quantity == 3


def test_a_trip_that_breaks_a_rule_at_its_end_is_refused_whole() -> None:
    position = positions(1)[0]
    taken = 1_000
    with transaction.atomic():
        insert_rows([event("theirs", taken, position.account_id)])
    with pytest.raises(IntegrityError):
        in_one_trip([event("first"), event("mine", taken, position.account_id)])
    assert not Event.objects.filter(subject__in=["first", "mine"]).exists()


def test_a_trip_that_fails_before_its_end_is_not_made() -> None:
    with pytest.raises(AttributeError):
        in_one_trip([event("first"), None])  # type: ignore[list-item]
    with transaction.atomic():
        insert_row(event("later"))
    assert not Event.objects.filter(subject="first").exists()


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_nothing_is_written() -> None:
    with pytest.raises(AssertionError, match="in a transaction"):
        insert_rows([new_row(Event, kind="x", actor="y", recorded_at=NOON)])
