"""The rules between the fields of an order ticket.

They need nothing but the request itself; `trading.risk` judges it against the market and the
account.
"""

from __future__ import annotations

from decimal import Decimal

from portfolios.models import LotMethod
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
from trading.errors import InvalidOrder, OrderRuleBroken
from trading.models import TRAIL_PERCENT_PLACES, OrderType, TimeInForce
from trading.order_classes import EXITS, check_class
from trading.request import OrderRequest

CLIENT_ORDER_ID_MAX = 128  # characters, as the wire contract says

TRAIL_PERCENT_MAX = Decimal(100)

# The prices that an order of each type is made of; a trailing stop has one of its two.
PRICES_OF = {
    OrderType.MARKET: frozenset(),
    OrderType.LIMIT: frozenset({"limit_price"}),
    OrderType.STOP: frozenset({"stop_price"}),
    OrderType.STOP_LIMIT: frozenset({"limit_price", "stop_price"}),
    OrderType.TRAILING_STOP: frozenset({"trail_price", "trail_percent"}),
}
PRICES = ("limit_price", "stop_price", "trail_price", "trail_percent")

LOTS_MAX = 100  # that one order names

LASTING = frozenset({TimeInForce.DAY, TimeInForce.GTC})


def check_request(request: OrderRequest) -> None:
    """Raise InvalidOrder or OrderRuleBroken unless the ticket makes sense in itself."""
    _check_size(request)
    _check_prices(request)
    check_class(request)
    _check_time_in_force(request)
    _check_fractions(request)
    _check_extended_hours(request)
    check_client_order_id(request.client_order_id)
    _check_lots(request)


def _check_size(request: OrderRequest) -> None:
    if request.quantity is None and request.notional is None:
        raise InvalidOrder("qty or notional is required")
    if request.quantity is not None and request.notional is not None:
        raise InvalidOrder("only one of qty or notional is accepted")
    if request.quantity is not None:
        check_quantity(request.quantity)
    if request.notional is not None:
        _check_amount("notional", request.notional, CASH_PLACES, ORDER_VALUE_MAX)


def check_quantity(quantity: Decimal) -> None:
    """Raise InvalidOrder or OrderRuleBroken unless it is a quantity that an order can have."""
    _check_amount("qty", quantity, QUANTITY_PLACES, QUANTITY_MAX)


def _check_prices(request: OrderRequest) -> None:
    taken = PRICES_OF[request.type]
    for name in PRICES:
        price = getattr(request, name)
        if price is None:
            continue
        if name not in taken:
            raise InvalidOrder(f"{request.type} orders do not take {name}")
        if name == "trail_percent":
            _check_trail_percent(price)
        else:
            _check_price(name, price)
    for field, called in EXITS.items():
        price = getattr(request, field)
        if price is not None:
            _check_price(called, price)
    if request.type == OrderType.TRAILING_STOP:
        if (request.trail_price is None) == (request.trail_percent is None):
            raise InvalidOrder(
                "trailing_stop orders require exactly one of trail_price and trail_percent"
            )
        return
    for name in sorted(taken):
        if getattr(request, name) is None:
            raise InvalidOrder(f"{request.type} orders require {name}")


def _check_price(name: str, price: Decimal) -> None:
    _check_amount(name, price, None, PRICE_MAX)
    _check_increment(name, price)


def _check_trail_percent(percent: Decimal) -> None:
    _check_amount("trail_percent", percent, TRAIL_PERCENT_PLACES, TRAIL_PERCENT_MAX)
    if percent == TRAIL_PERCENT_MAX:
        raise OrderRuleBroken(
            f"trail_percent must be < {plain(TRAIL_PERCENT_MAX)}", maximum=plain(TRAIL_PERCENT_MAX)
        )


def _check_amount(name: str, amount: Decimal, places: int | None, upper: Decimal) -> None:
    if not amount.is_finite() or amount <= 0:
        raise InvalidOrder(f"{name} must be > 0")
    if amount > upper:
        raise OrderRuleBroken(f"{name} must be <= {plain(upper)}", maximum=plain(upper))
    if places is not None and not _fits(amount, places):
        raise OrderRuleBroken(f"{name} must have at most {places} decimals", decimals=places)


def _check_increment(name: str, price: Decimal) -> None:
    """From 1.00 upwards whole cents, below that a hundredth of a cent."""
    places = 2 if price >= 1 else PRICE_PLACES
    if not _fits(price, places):
        raise OrderRuleBroken(
            f"invalid {name} {plain(price)}. sub-penny increment does not fulfill minimum "
            "pricing criteria",
            minimum_increment=plain(Decimal(1).scaleb(-places)),
        )


def _check_time_in_force(request: OrderRequest) -> None:
    if request.is_stop and request.time_in_force not in LASTING:
        raise OrderRuleBroken(f"{request.type} orders must be DAY or GTC orders")


def _check_fractions(request: OrderRequest) -> None:
    if request.notional is not None and request.is_stop:
        raise OrderRuleBroken("orders by amount must be market or limit orders")
    if request.is_fractional and request.type == OrderType.TRAILING_STOP:
        raise OrderRuleBroken("trailing_stop orders must be for whole shares")


def _check_extended_hours(request: OrderRequest) -> None:
    if not request.extended_hours:
        return
    if request.type != OrderType.LIMIT or request.time_in_force not in LASTING:
        raise OrderRuleBroken("extended hours orders must be DAY or GTC limit orders")


def _check_lots(request: OrderRequest) -> None:
    if (request.lot_method == LotMethod.SPECIFIC) != bool(request.lots):
        raise InvalidOrder("lots are named with lot_method specific, and only with it")
    if len(request.lots) > LOTS_MAX:
        raise InvalidOrder(f"at most {LOTS_MAX} lots can be named", maximum=LOTS_MAX)
    if len(set(request.lots)) < len(request.lots):
        raise InvalidOrder("a lot is named twice")


def check_client_order_id(client_order_id: str) -> None:
    """Raise InvalidOrder unless it is text that an order can be named by; "" is."""
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
