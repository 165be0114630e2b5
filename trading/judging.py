"""May this account place this order? What is asked before risk, of the rows, and risk itself.

A margin account's positions are valued for it, at prices that are read before its lock is taken.
Whether it is one is only known under the lock, so a use case is tried without prices first: cash
accounts, which need none, pay nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from events.errors import NotFound
from portfolios import lot_rows
from portfolios.borrowing import OwnMarks, margin_locked
from portfolios.margin import CASH, Margin
from portfolios.models import Account, Position
from quotes.amounts import PRICE_PLACES, from_units, plain
from quotes.models import Instrument
from quotes.queries import Listed, get_instrument, get_listed
from trading import client_ids
from trading.errors import InsufficientQuantity, LotsNotFound, OrderRuleBroken
from trading.holds import OPENING
from trading.models import OrderClass
from trading.order_classes import check_exit_prices
from trading.protection import check_opposite
from trading.request import OrderRequest
from trading.risk import AccountView, Assessment, MarketView, assess, reference_price

ZERO = Decimal(0)


def margin_for(account: Account, marks: OwnMarks | None) -> Margin | None:
    """The margin of a locked margin account; None of a cash account. Raises MarksNeeded."""
    return None if account.multiplier == CASH else margin_locked(account, marks)


def judge(
    request: OrderRequest, account: AccountView, instrument: Instrument, market: MarketView
) -> Assessment:
    """Whether the account may place this well-formed order now, whatever it is for.

    For a use case under the account's lock, for a preview without. Raises what `risk.assess`
    raises, DuplicateClientOrderId, LotsNotFound, WashTrade.
    """
    client_ids.check_free(account.pk, request.client_order_id)
    check_lots(account.pk, instrument, request)
    check_exits(request, account, market)
    assessment = assess(request, account, market)
    if not request.is_forced:
        check_opposite(request, account, instrument, opens=assessment.intent in OPENING)
    return assessment


def account_view(
    account: Account, position: Position | None, margin: Margin | None = None
) -> AccountView:
    """The locked account, and its position in the order's instrument, as risk looks at them.

    `margin` is that of a margin account, None for a cash account.
    """
    return AccountView(
        pk=account.pk,
        cash=account.cash,
        hold_cash=account.hold_cash,
        quantity=ZERO if position is None else position.quantity,
        held_quantity=ZERO if position is None else position.hold_quantity,
        is_active=account.status == Account.Status.ACTIVE,
        is_frozen=account.frozen,
        is_suspended=account.trading_suspended,
        may_trade_fractions=account.fractional_trading,
        may_short=account.shorting,
        margin=margin,
    )


def find_instrument(symbol: str) -> Instrument:
    """The instrument of a symbol or asset id. Raises OrderRuleBroken."""
    with _unknown_is_refused(symbol):
        return get_instrument(symbol)


def find_listed(symbol: str, *, anew: bool = False) -> Listed:
    """The same, as the key and the symbol that it is known by. Raises OrderRuleBroken."""
    with _unknown_is_refused(symbol):
        return get_listed(symbol, anew=anew)


@contextmanager
def _unknown_is_refused(symbol: str) -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        raise OrderRuleBroken(error.message, symbol=symbol) from None


def check_lots(account_id: int, instrument: Instrument, request: OrderRequest) -> None:
    """Raise LotsNotFound unless the order can close every lot that it names."""
    if not request.lots:
        return
    held = lot_rows.find(account_id, instrument.pk, request.lots)
    closable = {pk for pk, lot in held.items() if (lot.quantity_left < 0) == request.is_buy}
    missing = [pk for pk in request.lots if pk not in closable]
    if missing:
        raise LotsNotFound(instrument.symbol, missing)


def check_exits(request: OrderRequest, account: AccountView, market: MarketView) -> None:
    """A bracket or OTO enters a position, an OCO leaves one; and the stop lies beyond the market.

    Raises InsufficientQuantity, OrderRuleBroken.
    """
    if request.order_class == OrderClass.SIMPLE:
        return
    closes = account.quantity < 0 if request.is_buy else account.quantity > 0
    if request.order_class == OrderClass.OCO and not closes:
        assert request.quantity is not None
        raise InsufficientQuantity(
            symbol=market.symbol,
            requested=request.quantity,
            existing=ZERO,
            held=ZERO,
        )
    if request.order_class != OrderClass.OCO and closes:
        raise OrderRuleBroken(
            f"{request.order_class} orders enter a position, and this one would close what is held",
            existing_qty=plain(account.quantity),
        )
    reference = reference_price(request.is_buy, market)
    if request.is_market and reference:
        check_exit_prices(
            exits_buy=request.exits_buy,
            take_profit=request.take_profit,
            stop_loss=request.stop_loss,
            base=from_units(reference, PRICE_PLACES),
        )
