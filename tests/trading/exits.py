"""Brackets and OCOs on a trading floor, and what is asked of them by several tests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from events.models import Event
from portfolios.models import Account, Position
from tests.portfolios.factories import assert_books_balance
from tests.trading.floor import TradingFloor, now_of
from trading.models import Order, OrderClass
from trading.orders import cancel
from trading.verification import verify_fills

BRACKET: dict[str, Any] = {
    "order_class": OrderClass.BRACKET,
    "take_profit": Decimal(110),
    "stop_loss": Decimal(90),
}


def bracket(floor: TradingFloor, account: Account, quantity: str = "10", **fields: Any) -> Order:
    return floor.buy(account, quantity, **{**BRACKET, **fields})


def entered(floor: TradingFloor, account: Account, **fields: Any) -> tuple[Order, Order, Order]:
    """A bracket whose entry is filled: entry, take-profit, stop-loss."""
    order = bracket(floor, account, **fields)
    floor.pass_time(seconds=1)
    return family(order)


def hold_shares(floor: TradingFloor, account: Account, quantity: str = "10") -> None:
    floor.buy(account, quantity)
    floor.pass_time(seconds=1)


def oco(floor: TradingFloor, account: Account, quantity: str = "10", **fields: Any) -> Order:
    pair = {"limit": "110", "take_profit": Decimal(110), "stop_loss": Decimal(90)}
    return floor.sell(account, quantity, order_class=OrderClass.OCO, **{**pair, **fields})


def family(order: Order) -> tuple[Order, ...]:
    """The order and its legs, as the database has them."""
    return (now_of(order), *Order.objects.filter(parent=order).order_by("pk"))


def statuses(order: Order) -> list[str]:
    return [one.status for one in family(order)]


def told(order: Order) -> list[str]:
    events = Event.objects.filter(subject=f"order:{order.public_id}").order_by("account_sequence")
    return [event.kind.removeprefix("trading.order.") for event in events]


def held_shares() -> Decimal:
    return Position.objects.get().hold_quantity


def end(order: Order) -> None:
    cancel(account_id=order.account_id, order_id=order.public_id, actor="test")


def assert_proved(*accounts: Account) -> None:
    assert_books_balance(*accounts)
    assert {progress.wrong for progress in verify_fills()} <= {None}
