"""What a client asks for when it places an order, and the rules between its fields.

These rules need nothing but the request itself; `trading.risk` judges it against the market and
the account.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal

from quotes.amounts import (
    CASH_PLACES,
    ORDER_VALUE_MAX,
    PRICE_MAX,
    PRICE_PLACES,
    QUANTITY_MAX,
    QUANTITY_PLACES,
    plain,
    to_units,
)
from trading.errors import InvalidOrder, NotOffered, OrderRuleBroken
from trading.models import OrderClass, OrderType, Side, TimeInForce

CLIENT_ORDER_ID_MAX = 128  # characters, as the wire contract says

OFFERED_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT})
OFFERED_TIMES_IN_FORCE = frozenset({TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC})


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """An order ticket as the client filled it in; prices in USD per share, notional in USD."""

    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    client_order_id: str = ""  # empty: one is generated
    extended_hours: bool = False
    order_class: OrderClass = OrderClass.SIMPLE

    @property
    def is_buy(self) -> bool:
        return self.side == Side.BUY

    @property
    def is_market(self) -> bool:
        return self.type == OrderType.MARKET

    @property
    def is_fractional(self) -> bool:
        """By amount, or for a quantity that is not whole."""
        return self.quantity is None or self.quantity != self.quantity.to_integral_value()

    def summary(self) -> dict[str, str]:
        """What was asked for, as the event of a refusal keeps it."""
        asked = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: str(value) for name, value in asked if value not in (None, "")}


def check_request(request: OrderRequest) -> None:
    """Raise InvalidOrder, NotOffered or OrderRuleBroken unless the ticket makes sense in itself."""
    _check_offered(request)
    _check_size(request)
    _check_prices(request)
    _check_extended_hours(request)
    _check_client_order_id(request.client_order_id)


def _check_offered(request: OrderRequest) -> None:
    if request.type not in OFFERED_TYPES:
        raise NotOffered(f"order type {request.type}")
    if request.time_in_force not in OFFERED_TIMES_IN_FORCE:
        raise NotOffered(f"time in force {request.time_in_force}")
    if request.order_class != OrderClass.SIMPLE:
        raise NotOffered(f"order class {request.order_class}")


def _check_size(request: OrderRequest) -> None:
    if request.quantity is None and request.notional is None:
        raise InvalidOrder("qty or notional is required")
    if request.quantity is not None and request.notional is not None:
        raise InvalidOrder("only one of qty or notional is accepted")
    if request.quantity is not None:
        _check_amount("qty", request.quantity, QUANTITY_PLACES, QUANTITY_MAX)
    if request.notional is not None:
        _check_amount("notional", request.notional, CASH_PLACES, ORDER_VALUE_MAX)


def _check_prices(request: OrderRequest) -> None:
    if request.stop_price is not None:
        raise InvalidOrder(f"{request.type} orders do not take a stop_price")
    if request.is_market:
        if request.limit_price is not None:
            raise InvalidOrder("market orders do not take a limit_price")
        return
    if request.limit_price is None:
        raise InvalidOrder("limit orders require limit_price")
    _check_amount("limit_price", request.limit_price, None, PRICE_MAX)
    _check_increment("limit_price", request.limit_price)


def _check_amount(name: str, amount: Decimal, places: int | None, upper: Decimal) -> None:
    if not amount.is_finite() or amount <= 0:
        raise InvalidOrder(f"{name} must be > 0")
    if amount > upper:
        raise OrderRuleBroken(f"{name} must be <= {plain(upper)}", maximum=plain(upper))
    if places is not None and not _fits(amount, places):
        raise OrderRuleBroken(f"{name} must have at most {places} decimals")


def _check_increment(name: str, price: Decimal) -> None:
    """From 1.00 upwards whole cents, below that a hundredth of a cent."""
    places = 2 if price >= 1 else PRICE_PLACES
    if not _fits(price, places):
        raise OrderRuleBroken(
            f"invalid {name} {plain(price)}. sub-penny increment does not fulfill minimum "
            "pricing criteria",
            minimum_increment=plain(Decimal(1).scaleb(-places)),
        )


def _check_extended_hours(request: OrderRequest) -> None:
    if not request.extended_hours:
        return
    if request.is_market or request.time_in_force != TimeInForce.DAY:
        raise OrderRuleBroken("extended hours orders must be DAY limit orders")


def _check_client_order_id(client_order_id: str) -> None:
    if len(client_order_id) > CLIENT_ORDER_ID_MAX:
        raise InvalidOrder(
            f"client_order_id must be at most {CLIENT_ORDER_ID_MAX} characters",
            maximum=CLIENT_ORDER_ID_MAX,
        )
    try:
        client_order_id.encode()
    except UnicodeEncodeError as error:  # a lone surrogate is no text that a column can hold
        raise InvalidOrder("client_order_id must be valid text") from error


def _fits(amount: Decimal, places: int) -> bool:
    try:
        to_units(amount, places)
    except ValueError:
        return False
    return True
