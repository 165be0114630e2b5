"""The fill certificate: from what is stored with a fill, anyone can work the fill out again."""

from __future__ import annotations

import uuid
from datetime import date
from decimal import Decimal
from typing import Any

from events.bulk import new_row
from portfolios.models import Position
from portfolios.positions import Execution as Booking
from quotes.amounts import CASH_PLACES, PRICE_PLACES, QUANTITY_PLACES, from_units, to_units
from quotes.ticks import Quote, to_instant, to_micros
from trading import fees
from trading.execution.decisions import AUCTION, Execution
from trading.execution.matching import (
    MODEL_VERSION,
    NEVER_US,
    FillModel,
    Match,
    Waiting,
    WorkingOrder,
    match,
    match_auction,
)
from trading.execution.queue import Place, match_print
from trading.legs import family_of, is_complex
from trading.models import (
    AUCTIONS,
    IMMEDIATE,
    MARKETS,
    STOPS,
    Fill,
    Intent,
    Order,
    Side,
    TimeInForce,
)
from trading.trailing import trail_of


def certified_fill(execution: Execution, order: Order, position: Position, booked: Booking) -> Fill:
    """The fill's row. Order and position are as they are after it."""
    quote, found = execution.quote, execution.match
    return new_row(
        Fill,
        execution_id=execution.execution_id,
        account_id=order.account_id,
        order_id=order.pk,
        instrument_id=order.instrument_id,
        number=execution.number,
        side=order.side,
        quantity=booked.quantity,
        price=booked.price,
        cash=booked.cash,
        fee=booked.fee,
        fee_pack=fees.pack_of(booked.fee),
        position_quantity=position.quantity,
        cumulative_quantity=order.filled_quantity,
        leaves_quantity=leaves(order),
        at=booked.at,
        recorded_at=booked.recorded_at,
        bid=from_units(quote.bid, PRICE_PLACES),
        bid_size=quote.bid_size,
        ask=from_units(quote.ask, PRICE_PLACES),
        ask_size=quote.ask_size,
        taken_before=from_units(found.taken_before, QUANTITY_PLACES),
        quote_sequence=quote.sequence,
        quote_epoch=quote.epoch,
        quote_at=to_instant(quote.at_us),
        quote_received_at=to_instant(quote.received_us or quote.at_us),
        resolution=quote.resolution,
        model=execution.model,
        model_version=MODEL_VERSION,
        **_place_columns(execution.place),
    )


def _place_columns(place: Place | None) -> dict[str, Any]:
    if place is None:
        return {}
    return {
        "queue_ahead": from_units(place.ahead, QUANTITY_PLACES),
        "queue_reached": from_units(place.reached, QUANTITY_PLACES),
        "trade_sequence": place.trade_sequence,
        "trade_price": from_units(place.trade_price, PRICE_PLACES),
        "trade_size": place.trade_size,
    }


def leaves(order: Order) -> Decimal | None:
    """What the order still wants; None for an order by amount."""
    return None if order.quantity is None else order.quantity - order.filled_quantity


def recompute(fill: Fill, order: Order, spent_before: Decimal) -> Match | Waiting:
    """What the model makes of the certificate. `spent_before`: the cash of the order's earlier
    fills, which bounds an order by amount."""
    working = _order_before(fill, order, spent_before)
    quote = certified_quote(fill, order.instrument.symbol)
    taken = to_units(fill.taken_before, QUANTITY_PLACES)
    if quote.resolution == AUCTION:
        return match_auction(working, quote.bid) or Waiting.LIMIT
    if place := certified_place(fill):
        return match_print(working, place, taken) or Waiting.LINE
    return match(working, quote, taken, FillModel(fill.model))


def expected_fee(fill: Fill, on: date) -> Decimal | None:
    """What the fill's rule pack charges for it on that trade date; None for an unknown pack."""
    if not fill.fee_pack:
        return Decimal(0)
    if fill.fee_pack != fees.US or fill.side == Side.BUY:
        return None
    quantity, cash = to_units(fill.quantity, QUANTITY_PLACES), to_units(fill.cash, CASH_PLACES)
    return from_units(fees.us_fee(quantity, cash, on), CASH_PLACES)


def expected_execution_id(fill: Fill, order: Order) -> uuid.UUID:
    """The id that the certificate makes of the fill."""
    return uuid.uuid5(order.public_id, f"{fill.quote_epoch}:{fill.quote_sequence}:{fill.number}")


def certified_quote(fill: Fill, symbol: str) -> Quote:
    """The quote that the fill used."""
    return Quote(
        symbol=symbol,
        at_us=to_micros(fill.quote_at),
        bid=to_units(fill.bid, PRICE_PLACES),
        bid_size=fill.bid_size,
        ask=to_units(fill.ask, PRICE_PLACES),
        ask_size=fill.ask_size,
        sequence=fill.quote_sequence,
        epoch=fill.quote_epoch,
        received_us=to_micros(fill.quote_received_at),
        resolution=fill.resolution,
    )


def certified_place(fill: Fill) -> Place | None:
    """Where its order stood in line, and the trade that let it through; None if it did not."""
    if fill.trade_sequence is None:
        return None
    assert fill.queue_ahead is not None
    assert fill.queue_reached is not None
    assert fill.trade_price is not None
    assert fill.trade_size is not None
    return Place(
        ahead=to_units(fill.queue_ahead, QUANTITY_PLACES),
        reached=to_units(fill.queue_reached, QUANTITY_PLACES),
        trade_sequence=fill.trade_sequence,
        trade_price=to_units(fill.trade_price, PRICE_PLACES),
        trade_size=fill.trade_size,
    )


def _order_before(fill: Fill, order: Order, spent_before: Decimal) -> WorkingOrder:
    working = working_order(order, order.instrument.symbol)
    if fill.leaves_quantity is not None:
        working.leaves = to_units(fill.leaves_quantity + fill.quantity, QUANTITY_PLACES)
    else:
        assert order.notional is not None
        working.cash_left = to_units(order.notional - spent_before, CASH_PLACES)
    return working


def working_order(order: Order, symbol: str) -> WorkingOrder:
    """The order as the engine works it, from its row."""
    left = leaves(order)
    bound = order.limit_price or order.collar_price or Decimal(0)
    waits_for_stop = order.type in STOPS and order.triggered_at is None
    return WorkingOrder(
        pk=order.pk,
        public_id=order.public_id,
        account_id=order.account_id,
        instrument_id=order.instrument_id,
        symbol=symbol,
        is_buy=order.side == Side.BUY,
        is_market=order.type in MARKETS,
        bound=to_units(bound, PRICE_PLACES),
        leaves=None if left is None else to_units(left, QUANTITY_PLACES),
        cash_left=None
        if order.notional is None
        else to_units(order.notional - order.filled_cash, CASH_PLACES),
        expires_us=NEVER_US if order.expires_at is None else to_micros(order.expires_at),
        extended_hours=order.extended_hours,
        is_immediate=order.time_in_force in IMMEDIATE,
        is_all_or_none=order.time_in_force == TimeInForce.FOK,
        is_short=order.intent == Intent.SELL_TO_OPEN,
        auction=AUCTIONS.get(TimeInForce(order.time_in_force), ""),
        stop=to_units(order.stop_price or Decimal(0), PRICE_PLACES) if waits_for_stop else 0,
        trail=trail_of(order.trail_price, order.trail_percent),
        mark=to_units(order.hwm or Decimal(0), PRICE_PLACES),
        submitted_us=to_micros(order.submitted_at),
        fills=order.fill_count,
        reason=order.reason,
        family=family_of(order) if is_complex(order) else 0,
    )
