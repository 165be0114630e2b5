"""Brackets, OCOs and OTOs: what an order that belongs to others means for them. Pure but for locks.

The *entry* of a bracket or OTO is an order like any other; its *exits*, a take-profit, a stop-loss
or both, are its legs. They are held until the entry is filled completely. Where the entry ends
after it was filled in part, they go to work for that part: who entered is never left without the
exits that were asked for. An OCO has no entry: its take-profit is the parent, its stop the leg.

Two exits close the same shares, and so are a pair: what one of them fills, the other has no more
to do; when one of them ends, so does the other. The take-profit holds the shares for both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import uuid4

from portfolios.models import Position
from quotes.amounts import PRICE_PLACES, from_units, to_units
from trading import holds, states
from trading.models import PAIRS, Intent, Leg, Order, OrderClass, OrderStatus, OrderType, Side
from trading.request import OrderRequest

ZERO = Decimal(0)
TICK = timedelta(microseconds=1)

ENTRY = ""  # the leg of who is none
NAMES = {ENTRY: "entry", Leg.TAKE_PROFIT: "take profit", Leg.STOP_LOSS: "stop loss"}
WAITS_FOR_ENTRY = "waiting for its entry to be filled"
WAITS_FOR_PARENT = "waiting for its take profit to be taken in"
SOLD_OTHERWISE = "its shares were closed by another order"


class Change(NamedTuple):
    """What becomes of an order; `status` is None where only its quantity changes."""

    order: Order
    status: OrderStatus | None
    quantity: Decimal | None
    reason: str = ""


def family_of(order: Order) -> int:
    """What the orders of one bracket, OCO or OTO have in common: the row id of their parent."""
    return order.parent_id or order.pk


def is_complex(order: Order) -> bool:
    return order.order_class != OrderClass.SIMPLE


def is_holding(order: Order) -> bool:
    """Whether it holds cash or shares: not once it is finished, nor while it is held itself, nor
    where its take-profit holds the shares of both."""
    if order.status in states.TERMINAL or order.status == OrderStatus.HELD:
        return False
    return order.order_class not in PAIRS or order.leg != Leg.STOP_LOSS


def hold_of(order: Order) -> holds.Hold:
    """What an order holds now, from what it has left to do."""
    return holds.hold_of(order) if is_holding(order) else holds.Hold()


def legs_of(order: Order, request: OrderRequest) -> list[Order]:
    """The legs of a new order, not yet stored; none of a simple one."""
    if request.order_class == OrderClass.SIMPLE:
        return []
    legs: list[Order] = []
    if request.order_class != OrderClass.OCO and request.take_profit is not None:
        legs.append(_leg(order, Leg.TAKE_PROFIT, OrderType.LIMIT, request.take_profit, None))
    if request.stop_loss is not None:
        limit = request.stop_loss_limit
        type_ = OrderType.STOP if limit is None else OrderType.STOP_LIMIT
        legs.append(_leg(order, Leg.STOP_LOSS, type_, limit, request.stop_loss))
    for n, leg in enumerate(legs, start=1):
        leg.submitted_at = leg.updated_at = order.submitted_at + n * TICK
    return legs


def _leg(
    order: Order, leg: Leg, type_: OrderType, limit: Decimal | None, stop: Decimal | None
) -> Order:
    is_oco = order.order_class == OrderClass.OCO
    buys = (order.side == Side.BUY) is is_oco  # an OCO's leg trades as its parent does
    return Order(
        account=order.account,
        instrument=order.instrument,
        client_order_id=str(uuid4()),
        side=Side.BUY if buys else Side.SELL,
        type=type_,
        time_in_force=order.time_in_force,
        order_class=order.order_class,
        parent=order,
        leg=leg,
        intent=closing_intent(buys),
        lot_method=order.lot_method,
        lot_ids=order.lot_ids,
        quantity=order.quantity,
        limit_price=limit,
        stop_price=stop,
        collar_price=stop_collar(buys, type_, stop),
        status=OrderStatus.HELD,
        reason=WAITS_FOR_PARENT if is_oco else WAITS_FOR_ENTRY,
        expires_at=order.expires_at,
        recorded_at=order.recorded_at,
    )


def closing_intent(buys: bool) -> Intent:
    return Intent.BUY_TO_CLOSE if buys else Intent.SELL_TO_CLOSE


def stop_collar(buys: bool, type_: str, stop: Decimal | None) -> Decimal | None:
    """The collar of an exit that becomes a market buy: of its stop, until that is triggered."""
    if not buys or type_ != OrderType.STOP or stop is None:
        return None
    return from_units(holds.collar(buys, to_units(stop, PRICE_PLACES)), PRICE_PLACES)


def following(order: Order, family: Iterable[Order], position: Position | None) -> list[Change]:
    """What the order's new state means for its relatives; `position` is the one they close.

    Called after each change of state of an order that has relatives, in the same transaction.
    """
    others = [one for one in family if one.pk != order.pk and one.status in states.OPEN]
    if not others or order.status == OrderStatus.SUSPENDED:
        return []
    if order.leg:
        return _of_exit(order, others)
    return _of_entry(order, others, position)


def _of_entry(order: Order, exits: list[Order], position: Position | None) -> list[Change]:
    """A filled entry wakes its exits at once; one that ended in part has them accepted."""
    if order.status not in states.TERMINAL:
        return []
    changes: list[Change] = []
    for one in exits:
        entered = _quantity(one) - (_quantity(order) - order.filled_quantity)
        quantity = min(entered, free_shares(position, one.side))
        is_over = one.expires_at is not None and one.expires_at <= order.updated_at
        if entered <= 0 or (is_over and order.status != OrderStatus.FILLED):
            changes.append(_end(one, order))
        elif quantity <= 0:
            changes.append(Change(one, OrderStatus.CANCELED, _quantity(one), SOLD_OTHERWISE))
        elif order.status == OrderStatus.FILLED:
            changes.append(Change(one, OrderStatus.NEW, quantity))
        else:
            changes.append(Change(one, OrderStatus.ACCEPTED, quantity))
    return changes


def _of_exit(order: Order, others: list[Order]) -> list[Change]:
    """Exits share what is left to close, and end together; with them an entry that is open."""
    if order.status in states.TERMINAL:
        return [_end(one, order) for one in others]
    if order.status == OrderStatus.PARTIALLY_FILLED:
        leaves = _quantity(order) - order.filled_quantity
        return [
            Change(one, None, one.filled_quantity + leaves, one.reason)
            for one in others
            if one.leg and _quantity(one) != one.filled_quantity + leaves
        ]
    waiting = [one for one in others if one.parent_id == order.pk]
    return [
        Change(one, OrderStatus.NEW, _quantity(one))
        for one in waiting
        if one.status == OrderStatus.HELD
    ]


def _end(one: Order, order: Order) -> Change:
    reason = f"its {NAMES[order.leg]} was {OrderStatus(order.status).value}"
    return Change(one, OrderStatus.CANCELED, _quantity(one), reason)


def _quantity(order: Order) -> Decimal:
    assert order.quantity is not None, "orders by amount have no legs"
    return order.quantity


def free_shares(position: Position | None, side: str) -> Decimal:
    """How many shares of a position an order of that side could still close."""
    if position is None or (position.quantity > 0) == (side == Side.BUY):
        return ZERO
    return max(abs(position.quantity) - position.hold_quantity, ZERO)


def make(change: Change, at: datetime) -> str:
    """Change the order, in memory; returns the name of its update."""
    order = change.order
    order.quantity = change.quantity
    if change.status is None:
        order.updated_at = max(at, order.updated_at)
        return "restated"
    states.transition(order, change.status, at, change.reason)
    return change.status.value
