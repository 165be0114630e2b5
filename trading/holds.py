"""What an open order keeps others from spending, and the worst price at which it may trade. Pure.

An order that opens holds equity for the worst that it can cost, the part that its `margin_rate`
says; one that closes holds the shares that it closes. Recomputed from what is left after each
change, never counted down.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple, Protocol

from portfolios.buying_power import order_value
from quotes.amounts import CASH_PLACES, EXACT, QUANTITY_PLACES
from trading.models import Intent

ZERO = Decimal(0)
WHOLE = Decimal(1)

OPENING = frozenset({Intent.BUY_TO_OPEN, Intent.SELL_TO_OPEN})

# Percent of the touch. Alpaca reserves 2.5 to 4 % above the market for a market buy.
BUY_COLLAR = 104
SELL_COLLAR = 97  # of a sell by amount or short; others by quantity take any price
SHORT_PRICE = 103  # of the ask: what a sale short is worth at least


class Hold(NamedTuple):
    """What an open order keeps others from spending."""

    cash: Decimal = ZERO
    quantity: Decimal = ZERO


class Terms(Protocol):
    """An order as its hold depends on it."""

    side: str
    intent: str
    quantity: Decimal | None
    notional: Decimal | None
    filled_quantity: Decimal
    filled_cash: Decimal
    limit_price: Decimal | None
    collar_price: Decimal | None
    hold_price: Decimal | None
    margin_rate: Decimal


def hold_of(order: Terms) -> Hold:
    """What an order holds now, from what it has left to do."""
    return hold(
        intent_of(order),
        leaves=None if order.quantity is None else order.quantity - order.filled_quantity,
        cash_left=None if order.notional is None else order.notional - order.filled_cash,
        price=order.hold_price or order.limit_price or order.collar_price,
        rate=order.margin_rate,
    )


def intent_of(order: Terms) -> Intent:
    """What an order does to the position; those from before it was noted open or close longs."""
    if order.intent:
        return Intent(order.intent)
    return Intent.BUY_TO_OPEN if order.side == "buy" else Intent.SELL_TO_CLOSE


def short_price(ask: int) -> int:
    """What a share sold short is worth at least, in 1/10,000 USD."""
    return -(-ask * SHORT_PRICE // 100)


def collar(is_buy: bool, touch: int) -> int:
    """The worst price of a market order when the touch stands there; 1/10,000 USD, at least 1."""
    return max(touch * (BUY_COLLAR if is_buy else SELL_COLLAR) // 100, 1)


def needs_collar(*, is_market: bool, is_buy: bool, by_amount: bool, is_short: bool) -> bool:
    """A market sell of so many shares held takes any price; all others are bounded."""
    return is_market and (is_buy or by_amount or is_short)


def hold(
    intent: Intent,
    *,
    leaves: Decimal | None,
    cash_left: Decimal | None,
    price: Decimal | None,
    rate: Decimal,
) -> Hold:
    """What an order holds that wants so many shares more, or has so much cash left to trade."""
    if intent not in OPENING:
        if leaves is not None:
            return Hold(quantity=leaves)
        assert cash_left is not None
        assert price is not None
        return Hold(quantity=_shares_for(cash_left, price))
    if leaves == 0:
        return Hold()
    if leaves is None:
        assert cash_left is not None
        value = cash_left
    else:
        assert price is not None
        value = order_value(leaves, price)
    return Hold(cash=value if rate == WHOLE else _part(value, rate))


def _part(value: Decimal, rate: Decimal) -> Decimal:
    unit = Decimal(1).scaleb(-CASH_PLACES)
    exact = EXACT.multiply(value, rate)
    return exact.quantize(unit, rounding=ROUND_CEILING, context=EXACT)


def _shares_for(cash: Decimal, price: Decimal) -> Decimal:
    """The most shares that a sell for this amount can need, rounded up."""
    unit = Decimal(1).scaleb(-QUANTITY_PLACES)
    return EXACT.divide(cash, price).quantize(unit, rounding=ROUND_CEILING, context=EXACT)
