"""Whether an account can still hold an order whose price has moved since it was accepted.

A market order that was queued overnight or waited for its stop is held anew at the market it meets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from portfolios.borrowing import Marks, margin_now
from portfolios.margin import CASH, Margin
from portfolios.models import Account, Position
from quotes.amounts import plain
from trading import holds, risk
from trading.errors import InsufficientBuyingPower
from trading.models import Order

ZERO = Decimal(0)

Held = Iterable[tuple[Position, bool]]  # positions, each with whether it is marginable


def cannot_afford(order: Order, account: Account, changed: Held, marks: Marks, when: str) -> str:
    """Why the locked account cannot hold the order as it is now; "" where it can.

    `changed` are positions that the batch has changed in memory, `marks` what positions are worth.
    """
    others = risk.AccountView(
        cash=account.cash,
        hold_cash=account.hold_cash - order.hold_cash,
        margin=_margin_without(order, account, changed, marks),
    )
    try:
        risk.check_buying_power(others, holds.hold_of(order).cash, order.margin_rate)
    except InsufficientBuyingPower as error:
        numbers = error.extras
        needs, has = numbers["cost_basis"], numbers["buying_power"]
        return f"{error.message} {when}: needs {needs}, has {has}"
    return ""


def cannot_deliver(order: Order, position: Position | None, when: str) -> str:
    """Why the locked position has too few shares for a sale by amount as it is now; "" where it has
    enough. The lower the collar is, the more it needs; one by quantity needs what it always did."""
    needs = holds.hold_of(order).quantity
    if order.notional is None or needs == 0:
        return ""
    has = ZERO
    if position is not None:
        has = abs(position.quantity) - (position.hold_quantity - order.hold_quantity)
    if needs <= has:
        return ""
    return f"insufficient qty available {when}: needs {plain(needs)}, has {plain(has)}"


def _margin_without(order: Order, account: Account, changed: Held, marks: Marks) -> Margin | None:
    """A margin account's margin as if the order held nothing; None of a cash account."""
    if account.multiplier == CASH:
        return None
    margin = margin_now(account, marks, changed)
    return replace(margin, held=margin.held - order.hold_cash)
