"""What a client asks for when it places an order, and the rules between its fields.

These rules need nothing but the request itself; `trading.risk` judges it against the market and
the account.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
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
from trading.models import (
    MARKETS,
    STOPS,
    TRAIL_PERCENT_PLACES,
    OrderClass,
    OrderType,
    Side,
    TimeInForce,
)
from trading.order_classes import EXITS, check_class

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
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    client_order_id: str = ""  # empty: one is generated
    extended_hours: bool = False
    order_class: OrderClass = OrderClass.SIMPLE
    lot_method: LotMethod | None = None  # None: as the account has it
    lots: tuple[int, ...] = ()  # ids of those to close first, with `specific`
    is_forced: bool = False  # by the floor, on an account that may be stopped
    # The exits of an order that is not simple. The limit price of an OCO is its take-profit's.
    take_profit: Decimal | None = None  # a limit price
    stop_loss: Decimal | None = None  # a stop price
    stop_loss_limit: Decimal | None = None  # makes the stop-loss a stop-limit order

    @property
    def is_buy(self) -> bool:
        return self.side == Side.BUY

    @property
    def exits_buy(self) -> bool:
        """Whether its exits buy: those of an entry trade the other way, those of an OCO as it."""
        return self.is_buy is (self.order_class == OrderClass.OCO)

    @property
    def is_market(self) -> bool:
        return self.type == OrderType.MARKET

    @property
    def is_stop(self) -> bool:
        return self.type in STOPS

    @property
    def becomes_market(self) -> bool:
        """A market order now, or when its stop is triggered."""
        return self.type in MARKETS

    @property
    def is_fractional(self) -> bool:
        """By amount, or for a quantity that is not whole."""
        return self.quantity is None or self.quantity != self.quantity.to_integral_value()

    def summary(self) -> dict[str, str]:
        """What was asked for, as the event of a refusal keeps it."""
        asked = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: str(value) for name, value in asked if value not in (None, "", ())}


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
