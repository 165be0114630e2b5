"""An account's own orders against each other: what could trade with itself is refused.

Both sides of such a trade would be one owner's, which exchanges and FINRA (Rule 5210) forbid. As at
Alpaca (User Protection, "Preventing Wash Trades"), an order whose price is not limited, a stop
included, could trade with anything; and complex orders (brackets, OCOs, OTOs) and trailing stops
are placed all the same. Once they stand, of a pair of exits only the take-profit is in the way of
others, for the stop is the other end of it, and no trailing stop until it is triggered.

None of that lets an account open to both sides: it is long or short.
"""

from __future__ import annotations

from django.db.models import Q

from quotes.models import Instrument
from trading import states
from trading.errors import WashTrade
from trading.holds import OPENING, intent_of
from trading.models import PAIRS, Leg, Order, OrderClass, OrderStatus, OrderType, Side
from trading.request import OrderRequest
from trading.risk import AccountView

# Neither in the market nor on its way there.
_ASIDE = frozenset({OrderStatus.HELD, OrderStatus.SUSPENDED})
_MEETING = sorted(states.OPEN - _ASIDE)

_OPENS = Q(intent__in=sorted(OPENING))
_EXEMPT = Q(leg=Leg.STOP_LOSS, order_class__in=sorted(PAIRS)) | Q(
    type=OrderType.TRAILING_STOP, triggered_at=None
)


def check_opposite(
    request: OrderRequest, account: AccountView, instrument: Instrument, *, opens: bool
) -> None:
    """Raise WashTrade where an open order of the other side stands in this one's way.

    The account is locked. Asks for orders only where something is held for any.
    """
    some_open = account.hold_cash > 0 and not (request.is_buy and account.margin is None)
    if account.held_quantity == 0 and not some_open:
        return
    other = _in_the_way(request, account, instrument, opens)
    if other is None:
        return
    if opens and intent_of(other) in OPENING:
        what = (
            "cannot open a long buy while a short sell order is open"
            if request.is_buy
            else "cannot open a short sell while a long buy order is open"
        )
        raise WashTrade(what, existing_order_id=other.public_id)
    kind = "market/stop" if other.limit_price is None else "limit"
    raise WashTrade(
        existing_order_id=other.public_id, reject_reason=f"opposite side {kind} order exists"
    )


def _in_the_way(
    request: OrderRequest, account: AccountView, instrument: Instrument, opens: bool
) -> Order | None:
    """The oldest order of the other side that the new one could trade with; and for an order that
    opens, one that opens too."""
    conflict = _could_trade(request)
    if opens:
        conflict |= _OPENS
    orders = Order.objects.filter(
        conflict,
        account_id=account.pk,
        status__in=_MEETING,
        instrument_id=instrument.pk,
        side=Side.SELL if request.is_buy else Side.BUY,
    )
    return orders.order_by("pk").first()


def _could_trade(request: OrderRequest) -> Q:
    """Orders that a buy would pay what they ask, or the reverse; none for what is exempt."""
    if request.order_class != OrderClass.SIMPLE or request.type == OrderType.TRAILING_STOP:
        return Q(pk__in=())
    if request.limit_price is None:
        return ~_EXEMPT
    compared = "limit_price__lte" if request.is_buy else "limit_price__gte"
    return (Q(limit_price__isnull=True) | Q(**{compared: request.limit_price})) & ~_EXEMPT
