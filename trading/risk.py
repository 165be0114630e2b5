"""Pre-trade risk: may this order be accepted, and what does it hold until it is done?

Pure functions on a snapshot taken under the account's lock. A refusal is an error with the numbers
that explain it; nothing here reads or writes anything.

An order that opens holds equity for the worst that it can cost, one that closes holds the shares
that it closes. The worst is the order's *bound*: its limit, or for a market order the collar, a
price a little beyond the touch, at which it is then matched as if it were a limit. So no buy can
cost more than its hold.

A cash account covers an order in full, with the cash it has; a margin account covers the part that
`portfolios.margin` says, and may sell short. What sells short is worth the higher of its limit and
3 % above the ask. One order cannot cross from long to short or back.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from portfolios.buying_power import buying_power, order_value
from portfolios.margin import CASH, MARGIN, Margin, order_rate, worth_of
from quotes.amounts import ORDER_VALUE_MAX, PRICE_PLACES, from_units, plain, to_units
from quotes.ticks import Quote
from trading.errors import (
    AccountBlocked,
    InsufficientBuyingPower,
    InsufficientQuantity,
    NotTradable,
    NoUsablePrice,
    OrderRuleBroken,
    ShortingForbidden,
)
from trading.holds import OPENING, WHOLE, Hold, collar, hold, needs_collar, short_price
from trading.models import IMMEDIATE, Intent, TimeInForce
from trading.request import OrderRequest
from trading.trailing import Trail, better_mark, stop_of, trail_of

ZERO = Decimal(0)

# A buy limit this many times above the market is a slip of the hand (cents for dollars, a lost
# point). Sells have no such bound: a low limit is a common way to say "at the market", and it
# executes at the bid all the same.
BUY_LIMIT_FACTOR_MAX = 10

OF_THE_DAY = IMMEDIATE | {TimeInForce.DAY}

FRACTIONAL_VALUE_MIN = Decimal(1)  # USD


@dataclass(frozen=True, slots=True)
class AccountView:
    """What risk needs to know of the account; `quantity` and `held_quantity` of the instrument."""

    cash: Decimal
    hold_cash: Decimal
    pk: int = 0
    quantity: Decimal = ZERO
    held_quantity: Decimal = ZERO
    is_active: bool = True
    is_frozen: bool = False  # by an operator
    is_suspended: bool = False  # by its user
    may_trade_fractions: bool = True
    may_short: bool = False  # by its user's choice
    margin: Margin | None = None  # of a margin account


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
    is_marginable: bool = True
    is_shortable: bool = True  # there are shares to borrow
    takes_order: bool = True  # False outside the window in which an auction's orders are taken
    mark: int = 0  # of a trailing stop that goes on in place of another: how far that one has come


class Assessment(NamedTuple):
    """An order that may be accepted: what it holds, and the collar it is matched at, if any.

    `stop_price` and `hwm` are where a trailing stop begins; a plain stop's are None. `margin_rate`
    is the part of its value that an opening order holds, and `hold_price` the price at which that
    is reckoned, where it is neither limit nor collar.
    """

    hold: Hold
    collar_price: Decimal | None
    stop_price: Decimal | None = None
    hwm: Decimal | None = None
    intent: Intent = Intent.BUY_TO_OPEN
    margin_rate: Decimal = WHOLE
    hold_price: Decimal | None = None


def assess(request: OrderRequest, account: AccountView, market: MarketView) -> Assessment:
    """Accept or refuse a well-formed request.

    Raises AccountBlocked, NotTradable, OrderRuleBroken, ShortingForbidden, NoUsablePrice,
    InsufficientBuyingPower or InsufficientQuantity.
    """
    _check_account(request, account)
    _check_instrument(request, account, market)
    intent = _intent(request, account, market)
    _check_session(request, market)
    reference = reference_price(request.is_buy, market)
    trail = trail_of(request.trail_price, request.trail_percent)
    if (request.is_market or trail is not None) and reference == 0:
        raise NoUsablePrice(
            f"no price of {market.symbol} to hold a {request.type} order against",
            symbol=market.symbol,
        )
    _check_limit(request, reference)

    mark = _first_mark(request, market, reference)
    stop_price = request.stop_price if trail is None else _first_stop(request, trail, mark)
    collar_price = _collar_price(request, intent, stop_price, reference)
    hold_price = _hold_price(request, intent, market, reference)
    rate = _margin_rate(request, intent, account, market, hold_price or collar_price, reference)
    held = hold(
        intent,
        leaves=request.quantity,
        cash_left=request.notional,
        price=hold_price or request.limit_price or collar_price,
        rate=rate,
    )
    _check_value(request, account, reference)
    if intent in OPENING:
        check_buying_power(account, held.cash, rate)
    else:
        _check_shares(request, account, held.quantity)
    return Assessment(
        held,
        collar_price,
        None if trail is None else stop_price,
        None if trail is None else from_units(mark, PRICE_PLACES),
        intent,
        rate,
        hold_price,
    )


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


def check_buying_power(account: AccountView, needed: Decimal, rate: Decimal = WHOLE) -> None:
    """Raise InsufficientBuyingPower where what nothing else needs does not cover the hold.

    `rate` is the part of its value that the order holds: both numbers of the refusal are worth of
    orders like it.
    """
    if account.margin is None:
        free = buying_power(account.cash, account.hold_cash)
    else:
        free = max(account.margin.excess, ZERO)
    if needed > free:
        raise InsufficientBuyingPower(
            buying_power=worth_of(free, rate), cost_basis=worth_of(needed, rate)
        )


def _check_account(request: OrderRequest, account: AccountView) -> None:
    if not account.is_active:
        raise AccountBlocked("account is blocked from trading")
    if request.is_forced:
        return
    if account.is_suspended:
        raise AccountBlocked("new orders are rejected by user request")
    if account.is_frozen:
        raise AccountBlocked("account is blocked from trading")
    if request.is_fractional and not (account.may_trade_fractions or _closes(request, account)):
        raise AccountBlocked("fractional trading is switched off for this account")


def _check_instrument(request: OrderRequest, account: AccountView, market: MarketView) -> None:
    """A split may leave fractions of any asset: they can be sold with the rest, or by force."""
    if not market.is_tradable:
        raise NotTradable(market.symbol)
    if not request.is_fractional:
        return
    ends_it = request.is_forced or _closes(request, account)
    if not (market.is_fractionable or ends_it):
        raise OrderRuleBroken(f"asset {market.symbol} is not fractionable", symbol=market.symbol)
    if request.time_in_force != TimeInForce.DAY:
        raise OrderRuleBroken("fractional orders must be DAY orders")


def _intent(request: OrderRequest, account: AccountView, market: MarketView) -> Intent:
    """What the order would do to the position as it stands."""
    if request.is_buy:
        if account.quantity >= 0:
            return Intent.BUY_TO_OPEN
        if request.notional is not None:
            raise OrderRuleBroken("orders that cover a short position must be by quantity")
        return Intent.BUY_TO_CLOSE
    if account.quantity > 0 or account.margin is None:
        return Intent.SELL_TO_CLOSE
    _check_short(request, account, account.margin, market)
    return Intent.SELL_TO_OPEN


def _check_short(
    request: OrderRequest, account: AccountView, margin: Margin, market: MarketView
) -> None:
    if not account.may_short:
        raise ShortingForbidden
    if margin.leverage == CASH:
        raise ShortingForbidden(
            equity=plain(margin.equity), minimum=plain(margin.pack.margin_equity_min)
        )
    if not market.is_shortable:
        raise OrderRuleBroken(f"asset {market.symbol} cannot be sold short", symbol=market.symbol)
    if request.is_fractional:
        raise OrderRuleBroken("fractional orders cannot be sold short", symbol=market.symbol)


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
    request: OrderRequest, intent: Intent, stop_price: Decimal | None, reference: int
) -> Decimal | None:
    """The collar, of a stop from the stop's price: until it is triggered that is the best guess."""
    if not needs_collar(
        is_market=request.becomes_market,
        is_buy=request.is_buy,
        by_amount=request.notional is not None,
        is_short=intent is Intent.SELL_TO_OPEN,
    ):
        return None
    price = reference if stop_price is None else to_units(stop_price, PRICE_PLACES)
    return from_units(collar(request.is_buy, price), PRICE_PLACES)


def _hold_price(
    request: OrderRequest, intent: Intent, market: MarketView, reference: int
) -> Decimal | None:
    """What a share that is sold short counts for; None for all other orders."""
    if intent is not Intent.SELL_TO_OPEN:
        return None
    ask = usable_touch(True, market) or reference
    return max(request.limit_price or ZERO, from_units(short_price(ask), PRICE_PLACES))


def _margin_rate(
    request: OrderRequest,
    intent: Intent,
    account: AccountView,
    market: MarketView,
    price: Decimal | None,
    reference: int,
) -> Decimal:
    """The part of its value that the order holds: all of it in a cash account.

    What may fill outside this session, or be carried into the next by its time in force, is not
    opened at the leverage of a day.
    """
    price = price or request.limit_price
    if account.margin is None or intent not in OPENING or price is None:
        return WHOLE
    leverage = account.margin.leverage
    if request.extended_hours or request.time_in_force not in OF_THE_DAY or not market.is_open:
        leverage = min(leverage, MARGIN)
    return order_rate(
        account.margin.pack,
        leverage,
        is_short=not request.is_buy,
        marginable=market.is_marginable,
        price=price,
        market=from_units(reference, PRICE_PLACES),
    )


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
    """It closes all there is: a crumb of a position must not be stuck for being small."""
    return request.quantity == (-account.quantity if request.is_buy else account.quantity)


def _check_shares(request: OrderRequest, account: AccountView, needed: Decimal) -> None:
    existing = max(-account.quantity if request.is_buy else account.quantity, ZERO)
    if needed > existing - account.held_quantity:
        raise InsufficientQuantity(
            symbol=request.symbol,
            requested=needed,
            existing=existing,
            held=account.held_quantity,
        )
