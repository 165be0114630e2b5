"""Closing positions: a market order that sells what is held, or buys back what was sold short."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from django.db.models import Q

from events.errors import NotFound, OpenbellError
from portfolios.errors import PositionNotFound
from portfolios.models import Position
from quotes.amounts import EXACT, QUANTITY_PLACES
from quotes.queries import get_instrument
from trading.errors import InvalidOrder
from trading.models import Order, OrderType, Side, TimeInForce
from trading.orders import cancel_all, submit
from trading.request import OrderRequest

HUNDRED = Decimal(100)
FLAT = Q(quantity=Decimal(0))


def close_position(
    *,
    account_id: int,
    symbol: str,
    actor: str,
    quantity: Decimal | None = None,
    percentage: Decimal | None = None,
) -> Order:
    """Close the position in a symbol (or asset id): all of it, a quantity, or a percentage of it.

    Raises PositionNotFound, InvalidOrder, and what `submit` raises: InsufficientQuantity where
    open orders hold the shares.
    """
    if quantity is not None and percentage is not None:
        raise InvalidOrder("only one of qty or percentage is accepted")
    position = _open_position(account_id, symbol)
    wanted = quantity
    if percentage is not None:
        wanted = _share(position.quantity, percentage)
    if wanted is None:
        wanted = abs(position.quantity)
    return submit(account_id=account_id, request=_closing(position, wanted), actor=actor)


def close_all(
    *, account_id: int, actor: str, cancel_orders: bool = False
) -> list[tuple[str, Order | OpenbellError]]:
    """Close every position, each with its own order; each symbol comes back with its order or with
    why it has none. With `cancel_orders` open orders go first."""
    if cancel_orders:
        cancel_all(account_id=account_id, actor=actor)
    held = Position.objects.filter(account_id=account_id).exclude(FLAT)
    outcomes: list[tuple[str, Order | OpenbellError]] = []
    for position in held.select_related("instrument").order_by("instrument__symbol"):
        request = _closing(position, abs(position.quantity))
        try:
            outcome: Order | OpenbellError = submit(
                account_id=account_id, request=request, actor=actor
            )
        except OpenbellError as error:
            outcome = error
        outcomes.append((position.instrument.symbol, outcome))
    return outcomes


def _open_position(account_id: int, symbol: str) -> Position:
    try:
        instrument = get_instrument(symbol)
    except NotFound:
        raise PositionNotFound from None
    held = Position.objects.filter(account_id=account_id, instrument=instrument)
    position = held.exclude(FLAT).select_related("instrument").first()
    if position is None:
        raise PositionNotFound
    return position


def _share(held: Decimal, percentage: Decimal) -> Decimal:
    """That percentage of what is held, rounded down to what a quantity can say."""
    if not 0 < percentage <= HUNDRED:
        raise InvalidOrder(f"percentage must be above 0 and at most {HUNDRED}", maximum=HUNDRED)
    share = EXACT.divide(EXACT.multiply(abs(held), percentage), HUNDRED)
    return share.quantize(Decimal(1).scaleb(-QUANTITY_PLACES), rounding=ROUND_DOWN, context=EXACT)


def _closing(position: Position, quantity: Decimal) -> OrderRequest:
    return OrderRequest(
        symbol=position.instrument.symbol,
        side=Side.SELL if position.quantity > 0 else Side.BUY,
        type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        quantity=quantity,
    )
