"""The events of orders: written with the change, announced after its commit.

An event's payload is the whole trade update, so that whoever missed the announcement rebuilds it
from the row alone, and beside it `books`, which stays in the log: what the order holds since, and
the transaction of the ledger that a fill was posted with.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

from django.db import transaction

from events import log
from events.models import Event
from portfolios.models import Account
from quotes.amounts import plain
from quotes.models import Instrument
from quotes.streaming.bus import ORDERS, bus
from quotes.ticks import Quote, Trade
from trading import streaming
from trading.models import Fill, Order
from trading.wire import BOOKS, EVENT_KIND, amount, subject, update_json

STOP_TRIGGERED = "trading.stop.triggered"


def draft(
    name: str,
    order: Order,
    account: Account,
    instrument: Instrument,
    *,
    at: datetime,
    actor: str,
    fill: Fill | None = None,
    recorded_at: datetime | None = None,
) -> Event:
    """The event of what just happened to an order, as it is now; not yet written."""
    payload = update_json(name, order, at, instrument=instrument, fill=fill)
    payload[BOOKS] = _books(order)
    if fill is not None:
        payload[BOOKS]["transaction"] = account.transaction_sequence
    return log.draft(
        f"{EVENT_KIND}{name}",
        actor=actor,
        subject=subject(order.public_id),
        account=account,
        at=at,
        recorded_at=recorded_at,
        payload=payload,
    )


def draft_trigger(
    order: Order, account: Account, *, actor: str, price: Decimal, tick: Quote | Trade
) -> Event:
    """The event of a stop that is triggered, not yet written: no trade update, for clients know of
    none. `tick` is what triggered it, and `price` the price that counted of it."""
    payload = {
        "source": "trade" if isinstance(tick, Trade) else "quote",
        "price": plain(price),
        "sequence": tick.sequence,
        "epoch": tick.epoch,
        "stop_price": amount(order.stop_price),
        "hwm": amount(order.hwm),
        "collar_price": amount(order.collar_price),
        BOOKS: _books(order),
    }
    return log.draft(
        STOP_TRIGGERED,
        actor=actor,
        subject=subject(order.public_id),
        account=account,
        at=order.triggered_at,
        payload=payload,
    )


def _books(order: Order) -> dict[str, object]:
    return {"hold_cash": plain(order.hold_cash), "hold_qty": plain(order.hold_quantity)}


def record(events: Sequence[Event], *changed: Order) -> None:
    """Write the events; after commit tell the streams of them and the engine of the orders."""
    log.record_many(events)
    transaction.on_commit(partial(_announce, list(events), changed))


def _announce(events: list[Event], changed: Sequence[Order]) -> None:
    for order in changed:
        bus().publish(ORDERS, _news(order))
    streaming.announce(events)


def _news(order: Order) -> dict[str, object]:
    return {
        "instrument_id": order.instrument_id,
        "order_id": order.pk,
        "account_id": order.account_id,
        "status": str(order.status),
    }
