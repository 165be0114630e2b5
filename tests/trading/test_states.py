from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from trading.models import Order, OrderStatus
from trading.states import (
    CANCELABLE,
    ENTERED_AT,
    FILLABLE,
    OPEN,
    TERMINAL,
    TRANSITIONS,
    IllegalTransition,
    transition,
)

NOON = datetime(2013, 10, 7, 16, tzinfo=UTC)


def order_in(status: OrderStatus) -> Order:
    return Order(status=status, submitted_at=NOON, updated_at=NOON)


def test_every_status_has_its_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(OrderStatus)
    assert {
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.EXPIRED,
        OrderStatus.REPLACED,
        OrderStatus.REJECTED,
    } == TERMINAL


def test_whatever_is_open_can_be_canceled_and_expire() -> None:
    assert CANCELABLE == OPEN
    assert all(OrderStatus.EXPIRED in TRANSITIONS[status] for status in OPEN)
    assert FILLABLE < OPEN


def test_only_an_acknowledged_order_is_rejected() -> None:
    sources = [status for status, following in TRANSITIONS.items() if "rejected" in following]
    assert sources == [OrderStatus.ACCEPTED]


@given(st.lists(st.sampled_from(OrderStatus), max_size=12))
def test_no_walk_leaves_the_table_and_nothing_follows_an_end(wishes: list[OrderStatus]) -> None:
    order = order_in(OrderStatus.ACCEPTED)
    for step, wish in enumerate(wishes, start=1):
        before, stamped = order.status, order.updated_at
        if wish in TRANSITIONS[before]:
            transition(order, wish, NOON + timedelta(seconds=step))
            assert order.status == wish
            assert before not in TERMINAL
            assert order.updated_at > stamped
        else:
            with pytest.raises(IllegalTransition):
                transition(order, wish, NOON + timedelta(seconds=step))
            assert order.status == before
            assert order.updated_at == stamped


@pytest.mark.parametrize(("status", "column"), ENTERED_AT.items())
def test_an_end_is_stamped_once_in_its_own_column(status: OrderStatus, column: str) -> None:
    source = next(source for source, following in TRANSITIONS.items() if status in following)
    order = order_in(source)

    transition(order, status, NOON + timedelta(seconds=1), "because")

    stamped = {name for name in ENTERED_AT.values() if getattr(order, name) is not None}
    assert stamped == {column}
    assert order.reason == "because"


def test_time_does_not_run_back_within_an_order() -> None:
    order = order_in(OrderStatus.ACCEPTED)

    transition(order, OrderStatus.NEW, NOON - timedelta(hours=1))

    assert order.updated_at == NOON


def test_the_screen_lets_its_person_cancel_what_may_be_canceled() -> None:
    source = settings.BASE_DIR / "trading" / "static" / "trading" / "js" / "orders.js"
    (named,) = re.findall(r"CANCELABLE = new Set\((\[.*?\])\)", source.read_text())

    assert set(json.loads(named)) == CANCELABLE
