"""What would become of an order, in numbers, without placing it.

Judged by the very function that `orders.submit` asks, at the prices of this moment. Nothing is
stored, not even a refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from events.errors import Refused
from portfolios.borrowing import margin_now, read_marks
from portfolios.buying_power import order_value
from portfolios.margin import CASH, Margin
from portfolios.models import Position
from portfolios.queries import get_account
from quotes.amounts import CASH_PLACES, EXACT, PRICE_PLACES, QUANTITY_PLACES, from_units, to_units
from quotes.clock import market_clock
from trading.fees import fee
from trading.judging import account_view, find_instrument, judge
from trading.market import market_view
from trading.request import OrderRequest
from trading.request_rules import check_request
from trading.risk import Assessment, MarketView, reference_price

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Preview:
    """An order's prospects; USD.

    `price` is the one a market order would meet, or the limit; `cost` what the order is worth at
    it, and `fees` what that would cost if it were executed in one piece. None where there is no
    price. `assessment` is None where the order would be refused, `refusal` says why.
    """

    price: Decimal | None
    cost: Decimal | None
    fees: Decimal | None
    power_before: Decimal | None
    power_after: Decimal | None
    assessment: Assessment | None = None
    refusal: Refused | None = None


def preview(*, account_id: int, request: OrderRequest) -> Preview:
    """Judge the order as it would be judged now. Raises AccountNotFound, Unavailable."""
    account = get_account(account_id)
    margin = margin_now(account, read_marks(account_id))
    price = cost = fees = None
    try:
        check_request(request)
        instrument = find_instrument(request.symbol)
        market = market_view(
            instrument,
            extended_hours=request.extended_hours,
            time_in_force=request.time_in_force,
        )
        price = _price(request, market)
        cost = _cost(request, price)
        fees = _fees(request, price, cost)
        held = Position.objects.filter(account_id=account_id, instrument=instrument).first()
        view = account_view(account, held, margin if account.multiplier != CASH else None)
        assessment = judge(request, view, instrument, market)
    except Refused as refusal:
        power = margin.buying_power
        return Preview(price, cost, fees, power, power, refusal=refusal)
    return Preview(
        price,
        cost,
        fees,
        margin.buying_power,
        _power_after(margin, assessment),
        assessment=assessment,
    )


def _power_after(margin: Margin, assessment: Assessment) -> Decimal:
    return replace(margin, held=margin.held + assessment.hold.cash).buying_power


def _price(request: OrderRequest, market: MarketView) -> Decimal | None:
    """What it trades at if it does: its limit, its stop, else the touch."""
    at = request.limit_price or request.stop_price
    return at or from_units(reference_price(request.is_buy, market), PRICE_PLACES) or None


def _cost(request: OrderRequest, price: Decimal | None) -> Decimal | None:
    if request.notional is not None:
        return request.notional
    if price is None or request.quantity is None:
        return None
    return order_value(request.quantity, price)


def _fees(request: OrderRequest, price: Decimal | None, cost: Decimal | None) -> Decimal | None:
    if price is None or cost is None:
        return None
    quantity = request.quantity or EXACT.divide(cost, price)
    clock = market_clock()
    charge = fee(
        is_buy=request.is_buy,
        quantity=to_units(round(quantity, QUANTITY_PLACES), QUANTITY_PLACES),
        cash=to_units(cost, CASH_PLACES),
        on=clock.calendar.trading_date(clock.now()),
    )
    return from_units(charge, CASH_PLACES)
