"""Orders and their updates in the words of Alpaca's trading API (wire contract 6.1 and 12).

REST, the trade-updates stream, the event log and the screen all say an order through these
functions, so that they cannot disagree. Amounts are strings in plain notation, instants RFC 3339
in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from quotes.amounts import plain, rounded
from quotes.models import Instrument
from trading.holds import intent_of
from trading.models import Fill, Order

# Digits of an average price: a price has 4, and an average of a few of them is shown with 2 more.
AVERAGE_PLACES_SHOWN = 6

EVENT_KIND = "trading.order."  # events of an order: this and the name of the update
BOOKS = "books"  # in an event's payload: what is no part of the update


@lru_cache(maxsize=4096)  # the same few instants stand in all that a batch writes
def instant(at: datetime | None) -> str | None:
    """RFC 3339 in UTC with microseconds, or null."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def amount(value: Decimal | None) -> str | None:
    """A decimal as the trading API writes it: a string, or null."""
    return None if value is None else plain(value)


def order_json(order: Order, instrument: Instrument | None = None) -> dict[str, Any]:
    """The order object, with its legs where it was read with them. Pass the instrument where
    `order.instrument` would cost a query."""
    instrument = instrument or order.instrument
    return {
        "id": str(order.public_id),
        "client_order_id": order.client_order_id,
        **_times(order),
        **_links(order),
        "asset_id": str(instrument.public_id),
        "symbol": instrument.symbol,
        "asset_class": "us_equity",
        "notional": amount(order.notional),
        "qty": amount(order.quantity),
        "filled_qty": plain(order.filled_quantity),
        "filled_avg_price": average_price(order),
        "order_class": order.order_class,
        "order_type": order.type,
        "type": order.type,
        "side": order.side,
        "position_intent": intent_of(order),
        "time_in_force": order.time_in_force,
        "limit_price": amount(order.limit_price),
        "stop_price": amount(order.stop_price),
        "trail_percent": amount(order.trail_percent),
        "trail_price": amount(order.trail_price),
        "hwm": amount(order.hwm),
        "status": order.status,
        "extended_hours": order.extended_hours,
        "legs": [order_json(leg, instrument) for leg in order.nested_legs or ()] or None,
        "subtag": None,
        "source": None,
        # Beyond the contract: why the order waits, or why it ended, and which lots it closes
        # first. Clients ignore what they do not know.
        "reason": order.reason or None,
        "lot_method": order.lot_method,
        "lots": [str(pk) for pk in order.lot_ids] if order.lot_ids else None,
    }


def average_price(order: Order) -> str | None:
    """The volume-weighted price of what has been filled."""
    if order.filled_avg_price is None:
        return None
    return plain(rounded(order.filled_avg_price, AVERAGE_PLACES_SHOWN))


def _times(order: Order) -> dict[str, str | None]:
    return {
        "created_at": instant(order.submitted_at),
        "updated_at": instant(order.updated_at),
        "submitted_at": instant(order.submitted_at),
        "filled_at": instant(order.filled_at),
        "expired_at": instant(order.expired_at),
        "canceled_at": instant(order.canceled_at),
        "failed_at": instant(order.failed_at),
        "replaced_at": instant(order.replaced_at),
        "expires_at": instant(order.expires_at),
    }


def _links(order: Order) -> dict[str, str | None]:
    """The ends of a replacement chain, by public id; only a replaced order costs a query."""
    newer = order.replaced_by if order.replaced_by_id else None  # asked by id it costs nothing
    older = order.replaces if order.replaces_id else None
    return {
        "replaced_by": str(newer.public_id) if newer else None,
        "replaces": str(older.public_id) if older else None,
    }


def update_json(
    event: str,
    order: Order,
    at: datetime,
    *,
    instrument: Instrument | None = None,
    fill: Fill | None = None,
) -> dict[str, Any]:
    """The `data` of one trade update: the order as it is after the event, and its execution."""
    update: dict[str, Any] = {
        "event": event,
        "timestamp": instant(at),
        "order": order_json(order, instrument),
    }
    if fill is not None:
        update |= {
            "execution_id": str(fill.execution_id),
            "price": plain(fill.price),
            "qty": plain(fill.quantity),
            "position_qty": plain(fill.position_quantity),
        }
    return update


def subject(order_id: UUID) -> str:
    """How the event log names an order."""
    return f"order:{order_id}"
