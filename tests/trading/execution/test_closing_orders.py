"""Orders that close a position, and orders whose time is up when the engine first sees them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from unittest.mock import patch

import pytest

from portfolios.models import Account, Position
from quotes.clock import market_clock
from quotes.ticks import to_micros
from tests.portfolios.factories import assert_books_balance, funded_account, new_york
from tests.trading.floor import CLOSE, TradingFloor, now_of
from trading.execution import settlement
from trading.execution.tally import assert_closes
from trading.models import Order

pytestmark = pytest.mark.django_db

NEXT_OPENING = new_york("2013-10-08 09:30")


@pytest.fixture
def queued(floor: TradingFloor) -> tuple[Account, Order]:
    """Ten shares held and, after the close, a sale of 900 USD of them, at a last price of 100."""
    account = funded_account("2000")
    floor.buy(account, "10")
    floor.pass_time(seconds=1)
    floor.play(until=CLOSE + timedelta(hours=5))
    floor.print_trade("100")
    order = floor.sell(account, None, notional=Decimal(900))
    assert order.hold_quantity < 10
    return account, order


def test_a_sale_by_amount_that_came_to_need_more_shares_than_there_are_is_rejected(
    floor: TradingFloor, queued: tuple[Account, Order]
) -> None:
    account, order = queued
    floor.play(floor.quote("50", "51", at=NEXT_OPENING))

    rejected = now_of(order)
    assert (rejected.status, rejected.hold_quantity) == ("rejected", 0)
    assert "needs 18.556701031, has 10" in rejected.reason
    assert Position.objects.get(account=account).quantity == 10
    assert_books_balance(account)


def test_a_sale_by_amount_that_still_has_its_shares_is_filled(
    floor: TradingFloor, queued: tuple[Account, Order]
) -> None:
    account, order = queued
    floor.play(floor.quote("95", "96", at=NEXT_OPENING))

    assert now_of(order).status == "filled"
    assert 0 < Position.objects.get(account=account).quantity < 1
    assert_books_balance(account)


def test_a_fill_that_closed_more_than_there_is_would_stop_its_order(
    floor: TradingFloor, account: Account
) -> None:
    floor.buy(account, "10")
    floor.pass_time(seconds=1)
    order = floor.sell(account, None, notional=Decimal(900))
    with patch.object(settlement, "assert_closes", side_effect=AssertionError) as asked:
        floor.pass_time(seconds=1)

    assert now_of(order).status == "suspended"
    _, position, booked = asked.call_args.args
    assert_closes(order, position, booked)
    with pytest.raises(AssertionError):
        assert_closes(order, Position(quantity=Decimal(3)), booked)


def test_an_order_that_is_seen_after_its_end_expires_at_once(
    floor: TradingFloor, account: Account
) -> None:
    order = floor.buy(account, "1", limit="90")
    row = Order.objects.filter(pk=order.pk)
    row.update(status="rejected")  # as if its commit came later
    floor.play(until=CLOSE + timedelta(seconds=1))
    row.update(status="accepted")
    floor.engine._poll_due = True
    floor.pass_time(seconds=1)
    floor.pass_time(seconds=1)

    assert now_of(order).status == "expired"
    assert market_clock().now_us() < to_micros(CLOSE + timedelta(minutes=1))
    assert_books_balance(account)
