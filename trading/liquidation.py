"""Forced liquidation: positions are closed until what is left is covered by the equity.

First the account's open orders go, then positions are closed by market orders, the one with the
largest requirement first. Those are *forced*: only an operator cancels them. What one of them is
closing already counts as closed, so that looking again places nothing twice; what its owner orders
meanwhile goes at the next look, for it would keep shares from being closed. A frozen or suspended
account is liquidated all the same.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from django.db.models import Q

from events.errors import OpenbellError
from portfolios.borrowing import Marks
from portfolios.margin import Margin, Stake, maintenance_requirement
from portfolios.models import Account, Position
from quotes.amounts import EXACT, rounded
from trading.judging import find_instrument
from trading.market import market_view
from trading.models import Order, OrderType, Side, TimeInForce
from trading.orders import cancel_all, submit
from trading.request import OrderRequest
from trading.risk import usable_touch

ZERO = Decimal(0)
FLAT = Q(quantity=ZERO)
ACTOR = "operator:liquidation"
NAME = "liquidation-"  # what the client order ids of its orders begin with, for people to see

logger = logging.getLogger(__name__)


class Closable(NamedTuple):
    """A position's shares that nothing is closing yet, and what keeping them takes."""

    symbol: str
    quantity: Decimal  # negative when short
    requirement: Decimal


def liquidate(account: Account, margin: Margin, marks: Marks) -> list[Order]:
    """Place the orders that bring the account back to its maintenance margin; those placed.

    Raises AccountBusy, Unavailable. A position that cannot be closed now is left for the next time,
    without an order that would be refused again and again.
    """
    cancel_all(account_id=account.pk, actor=ACTOR)
    placed = []
    requests: dict[Closable, OrderRequest] = {}
    stuck = ZERO
    for one in _closable(account, margin, marks):
        request = _closing(one)
        if _can_be_placed(request):
            requests[one] = request
        else:
            stuck += one.requirement
            logger.warning("%s of account %s cannot be closed now", one.symbol, account.number)
    for one in to_close(margin, requests, stuck):
        request = requests[one]
        try:
            placed.append(submit(account_id=account.pk, request=request, actor=ACTOR))
        except OpenbellError as error:
            logger.warning("%s of account %s: %s", one.symbol, account.number, error.message)
    return placed


def to_close(margin: Margin, closable: Iterable[Closable], stuck: Decimal = ZERO) -> list[Closable]:
    """Which of them to close: the largest requirements first, until the equity covers the rest and
    what is `stuck`, the requirement of what cannot be closed.

    Pure. Closing at the mark changes no equity, and what is being closed already is not among them.
    """
    rest = sorted(closable, key=lambda one: (-one.requirement, one.symbol))
    needed = sum((one.requirement for one in rest), stuck)
    chosen = []
    for one in rest:
        if margin.equity >= needed:
            break
        chosen.append(one)
        needed -= one.requirement
    return chosen


def _closable(account: Account, margin: Margin, marks: Marks) -> list[Closable]:
    found = []
    held = Position.objects.filter(account_id=account.pk).exclude(FLAT)
    for position in held.select_related("instrument"):
        free = position.quantity - position.hold_quantity.copy_sign(position.quantity)
        if free == 0:
            continue
        price = marks.get(position.instrument_id)
        if price is None:
            price = EXACT.divide(position.cost_basis, position.quantity)
        stake = Stake(free, rounded(EXACT.multiply(free, price)), position.instrument.marginable)
        requirement = maintenance_requirement(margin.pack, margin.leverage, stake)
        found.append(Closable(position.instrument.symbol, free, requirement))
    return found


def _can_be_placed(request: OrderRequest) -> bool:
    """Whether the market takes the order; in a halt it waits."""
    market = market_view(find_instrument(request.symbol), extended_hours=False)
    if not market.is_tradable:
        return False
    return market.is_halted or usable_touch(request.is_buy, market) > 0


def _closing(one: Closable) -> OrderRequest:
    return OrderRequest(
        symbol=one.symbol,
        side=Side.SELL if one.quantity > 0 else Side.BUY,
        type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        quantity=abs(one.quantity),
        client_order_id=f"{NAME}{uuid.uuid4()}",
        is_forced=True,
    )
