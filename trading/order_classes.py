"""The rules between a bracket's, OCO's or OTO's entry and its exits. Pure."""

from __future__ import annotations

from decimal import Decimal

from quotes.amounts import plain
from trading.errors import InvalidOrder, OrderRuleBroken
from trading.models import OrderClass, OrderType, TimeInForce
from trading.request import OrderRequest

BEYOND = Decimal("0.01")  # USD between the price of the entry and its stop

ENTRIES = {
    OrderClass.BRACKET: (OrderType.MARKET, OrderType.LIMIT),
    OrderClass.OTO: (OrderType.MARKET, OrderType.LIMIT),
    OrderClass.OCO: (OrderType.LIMIT,),
}
# The fields of a ticket that make its exits, and what clients call them.
EXITS = {
    "take_profit": "take_profit.limit_price",
    "stop_loss": "stop_loss.stop_price",
    "stop_loss_limit": "stop_loss.limit_price",
}


def check_class(request: OrderRequest) -> None:
    """Raise InvalidOrder or OrderRuleBroken unless entry and exits go together."""
    name = request.order_class
    if name == OrderClass.SIMPLE:
        for field, called in EXITS.items():
            if getattr(request, field) is not None:
                raise InvalidOrder(f"simple orders do not take {called}")
        return
    _check_exits(request)
    if request.type not in ENTRIES[name]:
        allowed = " or ".join(ENTRIES[name])
        raise OrderRuleBroken(f"{name} orders must be {allowed} orders")
    if request.time_in_force not in (TimeInForce.DAY, TimeInForce.GTC):
        raise OrderRuleBroken(f"{name} orders must be DAY or GTC orders")
    if request.extended_hours:
        raise OrderRuleBroken(f"{name} orders do not trade in extended hours")
    if request.is_fractional:
        raise OrderRuleBroken("fractional orders must be simple orders")
    check_exit_prices(
        exits_buy=request.exits_buy,
        take_profit=request.take_profit,
        stop_loss=request.stop_loss,
        base=request.limit_price,
    )


def check_exit_prices(
    *,
    exits_buy: bool,
    take_profit: Decimal | None,
    stop_loss: Decimal | None,
    base: Decimal | None,
) -> None:
    """The exits lie on both sides of the price of the entry, or of the market: `base`, where it
    is known. Raises OrderRuleBroken with the prices."""
    if stop_loss is None:
        return
    sign, compared = (-1, "<") if exits_buy else (1, ">")
    if take_profit is not None and sign * (take_profit - stop_loss) <= 0:
        raise OrderRuleBroken(
            f"take_profit.limit_price must be {compared} stop_loss.stop_price",
            take_profit=plain(take_profit),
            stop_loss=plain(stop_loss),
        )
    if base is not None and sign * (base - stop_loss) < BEYOND:
        limit = ">= base_price + 0.01" if exits_buy else "<= base_price - 0.01"
        raise OrderRuleBroken(
            f"stop_loss.stop_price must be {limit}",
            base_price=plain(base),
            stop_loss=plain(stop_loss),
        )


def _check_exits(request: OrderRequest) -> None:
    name = request.order_class
    if request.stop_loss_limit is not None and request.stop_loss is None:
        raise InvalidOrder("stop_loss requires stop_price")
    given = (request.take_profit is not None) + (request.stop_loss is not None)
    if name == OrderClass.OTO and given != 1:
        raise InvalidOrder("oto orders require exactly one of take_profit and stop_loss")
    if name != OrderClass.OTO and given != 2:
        raise InvalidOrder(f"{name} orders require take_profit and stop_loss")
