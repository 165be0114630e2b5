"""What an order says of its fills: how much it has had, and what for."""

from __future__ import annotations

from decimal import Decimal

from portfolios.models import Position
from portfolios.positions import Execution as Booking
from quotes.amounts import EXACT, QUANTITY_PLACES, from_units, plain, rounded
from trading.execution.decisions import Execution
from trading.holds import OPENING, intent_of
from trading.models import AVERAGE_PLACES, Order


def is_too_much(decision: Execution, order: Order) -> bool:
    """More than is left: the other exit of its pair has been filled meanwhile."""
    quantity = from_units(decision.match.quantity, QUANTITY_PLACES)
    return order.quantity is not None and order.filled_quantity + quantity > order.quantity


def assert_closes(order: Order, position: Position, booked: Booking) -> None:
    """A closing order never turns a position around: what it needs of the shares, it holds."""
    is_closing = intent_of(order) not in OPENING
    assert not is_closing or booked.quantity <= abs(position.quantity), (
        "more than there is to close"
    )


def count_in(order: Order, booked: Booking) -> None:
    """Add a fill to what the order says of its fills."""
    before = EXACT.multiply(order.filled_avg_price or Decimal(0), order.filled_quantity)
    order.filled_quantity += booked.quantity
    order.filled_cash += booked.cash
    order.fill_count += 1
    value = EXACT.add(before, EXACT.multiply(booked.price, booked.quantity))
    order.filled_avg_price = rounded(EXACT.divide(value, order.filled_quantity), AVERAGE_PLACES)
    assert order.quantity is None or order.filled_quantity <= order.quantity, "overfilled"
    assert order.notional is None or order.filled_cash <= order.notional, (
        f"{plain(order.filled_cash)} spent of {plain(order.notional)}"
    )
