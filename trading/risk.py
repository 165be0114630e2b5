"""Pre-trade risk: may this order be accepted, and what does it hold until it is done?

Pure functions on a snapshot taken under the account's lock. A refusal is an error with the numbers
that explain it; nothing here reads or writes anything.

A cash account buys with the cash it has and sells the shares it has. A buy holds cash for the worst
that it can cost, a sell holds the shares it sells. The worst is the order's *bound*: its limit, or
for a market order the collar, a price a little beyond the touch, at which it is then matched as if
it were a limit. So no buy can cost more than its hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple, Protocol

from portfolios.buying_power import buying_power, order_value
from quotes.amounts import (
    EXACT,
    ORDER_VALUE_MAX,
    PRICE_PLACES,
    QUANTITY_PLACES,
    from_units,
    plain,
    to_units,
)
from quotes.ticks import Quote
from trading.errors import (
    AccountBlocked,
    InsufficientBuyingPower,
    InsufficientQuantity,
    NotTradable,
    NoUsablePrice,
    OrderRuleBroken,
)
from trading.models import IMMEDIATE, TimeInForce
from trading.request import OrderRequest
from trading.trailing import Trail, better_mark, stop_of, trail_of

ZERO = Decimal(0)

# Percent of the touch. Alpaca reserves 2.5 to 4 % above the market for a market buy.
BUY_COLLAR = 104
SELL_COLLAR = 97  # of a sell by amount; a sell by quantity takes any price

# A buy limit this many times above the market is a slip of the hand (cents for dollars, a lost
# point). Sells have no such bound: a low limit is a common way to say "at the market", and it
# executes at the bid all the same.
BUY_LIMIT_FACTOR_MAX = 10

FRACTIONAL_VALUE_MIN = Decimal(1)  # USD


@dataclass(frozen=True, slots=True)
class AccountView:
    """What risk needs to know of the account; `quantity` and `held_quantity` of the instrument."""

    cash: Decimal
    hold_cash: Decimal
    quantity: Decimal = ZERO
    held_quantity: Decimal = ZERO
    is_active: bool = True
    is_frozen: bool = False  # by an operator
    is_suspended: bool = False  # by its user
    may_trade_fractions: bool = True


@dataclass(frozen=True, slots=True)
class MarketView:
    """The instrument and its market at one instant, for one order.

    `is_open` is about this order: an extended-hours order may trade before the opening.
    `last_price` is the last trade or else the previous close, in 1/10,000 USD; 0: there is none.
    """

    symbol: str
    is_open: bool
    quote: Quote | None = None
    last_price: int = 0
    is_stale: bool = False
    is_tradable: bool = True
    is_fractionable: bool = True
    is_halted: bool = False
    takes_order: bool = True  # False outside the window in which an auction's orders are taken
    mark: int = 0  # of a trailing stop that goes on in place of another: how far that one has come


class Hold(NamedTuple):
    """What an open order keeps others from spending."""

    cash: Decimal = ZERO
    quantity: Decimal = ZERO


class Assessment(NamedTuple):
    """An order that may be accepted: what it holds, and the collar it is matched at, if any.

    `stop_price` and `hwm` are where a trailing stop begins; a plain stop's are None.
    """

    hold: Hold
    collar_price: Decimal | None
    stop_price: Decimal | None = None
    hwm: Decimal | None = None


class Terms(Protocol):
    """An order as its hold depends on it."""

    side: str
    quantity: Decimal | None
    notional: Decimal | None
    filled_quantity: Decimal
    filled_cash: Decimal
    limit_price: Decimal | None
    collar_price: Decimal | None


def assess(request: OrderRequest, account: AccountView, market: MarketView) -> Assessment:
    """Accept or refuse a well-formed request.

    Raises AccountBlocked, NotTradable, OrderRuleBroken, NoUsablePrice, InsufficientBuyingPower or
    InsufficientQuantity.
    """
    _check_account(request, account)
    _check_instrument(request, market)
    _check_session(request, market)
    reference = reference_price(request.is_buy, market)
    trail = trail_of(request.trail_price, request.trail_percent)
    if (request.is_market or trail is not None) and reference == 0:
        raise NoUsablePrice(f"no price of {market.symbol} to hold a {request.type} order against")
    _check_limit(request, reference)

    mark = _first_mark(request, market, reference)
    stop_price = request.stop_price if trail is None else _first_stop(request, trail, mark)
    collar_price = _collar_price(request, stop_price, reference)
    hold = _hold_of_request(request, collar_price)
    _check_value(request, account, reference)
    if request.is_buy:
        check_buying_power(account, hold.cash)
    else:
        _check_shares(request, account, hold.quantity)
    if trail is None:
        return Assessment(hold, collar_price)
    return Assessment(hold, collar_price, stop_price, from_units(mark, PRICE_PLACES))


def hold_of(order: Terms) -> Hold:
    """What an order holds now, from what it has left to do."""
    return _hold(
        is_buy=order.side == "buy",
        leaves=None if order.quantity is None else order.quantity - order.filled_quantity,
        cash_left=None if order.notional is None else order.notional - order.filled_cash,
        bound=order.limit_price or order.collar_price,
    )


def collar(is_buy: bool, touch: int) -> int:
    """The worst price of a market order when the touch stands there; 1/10,000 USD, at least 1."""
    return max(touch * (BUY_COLLAR if is_buy else SELL_COLLAR) // 100, 1)


def needs_collar(*, is_market: bool, is_buy: bool, by_amount: bool) -> bool:
    """A market sell by quantity has its shares held and takes any price; all others are bounded."""
    return is_market and (is_buy or by_amount)


def reference_price(is_buy: bool, market: MarketView) -> int:
    """The price a market order is judged by, in 1/10,000 USD; 0 where there is none.

    In an open session that is the touch and nothing else; while trading is closed or halted the
    touch may stand for nothing, and the last trade or close will do.
    """
    touch = usable_touch(is_buy, market)
    if market.is_open and not market.is_halted:
        return touch
    return market.last_price or touch


def usable_touch(is_buy: bool, market: MarketView) -> int:
    """The price on the side that the order meets; 0 where no usable quote shows one."""
    quote = market.quote
    if quote is None or market.is_stale or quote.is_crossed:
        return 0
    return quote.ask if is_buy else quote.bid


def check_buying_power(account: AccountView, needed: Decimal) -> None:
    """Raise InsufficientBuyingPower where cash beyond all holds does not cover it."""
    power = buying_power(account.cash, account.hold_cash)
    if needed > power:
        raise InsufficientBuyingPower(buying_power=power, cost_basis=needed)


def _check_account(request: OrderRequest, account: AccountView) -> None:
    if account.is_suspended:
        raise AccountBlocked("new orders are rejected by user request")
    if account.is_frozen or not account.is_active:
        raise AccountBlocked("account is blocked from trading")
    if request.is_fractional and not account.may_trade_fractions:
        raise AccountBlocked("fractional trading is switched off for this account")


def _check_instrument(request: OrderRequest, market: MarketView) -> None:
    if not market.is_tradable:
        raise NotTradable(market.symbol)
    if not request.is_fractional:
        return
    if not market.is_fractionable:
        raise OrderRuleBroken(f"asset {market.symbol} is not fractionable", symbol=market.symbol)
    if request.time_in_force != TimeInForce.DAY:
        raise OrderRuleBroken("fractional orders must be DAY orders")


def _check_session(request: OrderRequest, market: MarketView) -> None:
    if not market.takes_order:
        raise OrderRuleBroken(
            f"{request.time_in_force} orders are taken until shortly before the auction (opg 2 min,"
            " cls 10 min), and for the next day's from an hour before the end of the trading day"
        )
    if not market.is_open:
        if request.time_in_force in IMMEDIATE:
            raise OrderRuleBroken(f"{request.time_in_force} orders need an open market")
        return
    if request.is_market and not market.is_halted and not usable_touch(request.is_buy, market):
        why = "the market data feed is silent" if market.is_stale else "no quote to trade at"
        raise NoUsablePrice(f"no usable quote of {market.symbol}: {why}", symbol=market.symbol)


def _check_limit(request: OrderRequest, reference: int) -> None:
    if request.limit_price is None or not request.is_buy or reference == 0:
        return
    limit_max = from_units(reference * BUY_LIMIT_FACTOR_MAX, PRICE_PLACES)
    if request.limit_price > limit_max:
        raise OrderRuleBroken(
            f"limit_price {plain(request.limit_price)} is more than {BUY_LIMIT_FACTOR_MAX} times "
            f"the market price of {plain(from_units(reference, PRICE_PLACES))}",
            maximum=plain(limit_max),
        )


def _first_mark(request: OrderRequest, market: MarketView, reference: int) -> int:
    """From which price a trailing stop begins to follow."""
    return better_mark(market.mark, reference, request.is_buy) if market.mark else reference


def _first_stop(request: OrderRequest, trail: Trail, mark: int) -> Decimal:
    """Where a trailing stop stands at first."""
    stop = stop_of(mark, trail, request.is_buy)
    if stop == 0:
        price = plain(from_units(mark, PRICE_PLACES))
        raise OrderRuleBroken(f"the trail is more than the market price of {price}", price=price)
    return from_units(stop, PRICE_PLACES)


def _collar_price(
    request: OrderRequest, stop_price: Decimal | None, reference: int
) -> Decimal | None:
    """The collar, of a stop from the stop's price: until it is triggered that is the best guess."""
    if not needs_collar(
        is_market=request.becomes_market,
        is_buy=request.is_buy,
        by_amount=request.notional is not None,
    ):
        return None
    price = reference if stop_price is None else to_units(stop_price, PRICE_PLACES)
    return from_units(collar(request.is_buy, price), PRICE_PLACES)


def _check_value(request: OrderRequest, account: AccountView, reference: int) -> None:
    """The bounds of an order's worth, at its limit, its stop, or else at the market."""
    price = request.limit_price or request.stop_price or from_units(reference, PRICE_PLACES)
    value = request.notional
    if value is None:
        assert request.quantity is not None
        value = order_value(request.quantity, price)
    if value > ORDER_VALUE_MAX:
        raise OrderRuleBroken(
            f"order value must be <= {plain(ORDER_VALUE_MAX)}", maximum=plain(ORDER_VALUE_MAX)
        )
    if request.is_fractional and value < FRACTIONAL_VALUE_MIN and not _closes(request, account):
        raise OrderRuleBroken(
            f"fractional orders must be worth at least {plain(FRACTIONAL_VALUE_MIN)} USD",
            minimum=plain(FRACTIONAL_VALUE_MIN),
        )


def _closes(request: OrderRequest, account: AccountView) -> bool:
    """It sells all there is: a crumb of a position must not be stuck for being small."""
    return not request.is_buy and request.quantity == account.quantity


def _check_shares(request: OrderRequest, account: AccountView, needed: Decimal) -> None:
    if needed > account.quantity - account.held_quantity:
        raise InsufficientQuantity(
            symbol=request.symbol,
            requested=needed,
            existing=account.quantity,
            held=account.held_quantity,
        )


def _hold_of_request(request: OrderRequest, collar_price: Decimal | None) -> Hold:
    return _hold(
        is_buy=request.is_buy,
        leaves=request.quantity,
        cash_left=request.notional,
        bound=request.limit_price or collar_price,
    )


def _hold(
    *, is_buy: bool, leaves: Decimal | None, cash_left: Decimal | None, bound: Decimal | None
) -> Hold:
    if leaves is None:
        assert cash_left is not None
        assert bound is not None
        if is_buy:
            return Hold(cash=cash_left)
        return Hold(quantity=_shares_for(cash_left, bound))
    if not is_buy:
        return Hold(quantity=leaves)
    assert bound is not None
    if leaves == 0:
        return Hold()
    return Hold(cash=order_value(leaves, bound))


def _shares_for(cash: Decimal, price: Decimal) -> Decimal:
    """The most shares that a sell for this amount can need, rounded up."""
    unit = Decimal(1).scaleb(-QUANTITY_PLACES)
    return EXACT.divide(cash, price).quantize(unit, rounding=ROUND_CEILING, context=EXACT)
