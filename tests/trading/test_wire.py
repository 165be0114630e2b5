"""Orders on the wire, read by the official client's own models."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from decimal import Decimal

from alpaca.trading.models import Order as AlpacaOrder
from alpaca.trading.models import TradeUpdate

from quotes.models import Instrument
from trading.models import Fill, Order
from trading.wire import order_json, update_json

NOON = datetime(2013, 10, 7, 16, 0, 0, 250, tzinfo=UTC)
AAPL = Instrument(symbol="AAPL")

# Contract 6.1: all keys, always.
KEYS = set(
    re.findall(
        r"\w+",
        """
    id client_order_id created_at updated_at submitted_at filled_at expired_at canceled_at failed_at
    replaced_at expires_at replaced_by replaces asset_id symbol asset_class notional qty filled_qty
    filled_avg_price order_class order_type type side time_in_force limit_price stop_price
    trail_percent trail_price hwm status extended_hours legs position_intent subtag source
    """,
    )
)


def accepted_order(**changes: object) -> Order:
    fields = {
        "client_order_id": "mine",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "quantity": Decimal("1.500000000"),
        "limit_price": Decimal("190.2500"),
        "status": "accepted",
        "submitted_at": NOON,
        "updated_at": NOON,
    }
    return Order(**(fields | changes))


def test_the_official_client_reads_an_accepted_order() -> None:
    order = accepted_order()
    wire = order_json(order, AAPL)
    parsed = AlpacaOrder(**wire)

    assert set(wire) >= KEYS
    assert parsed.id == order.public_id
    assert parsed.submitted_at == NOON
    assert (parsed.qty, parsed.filled_qty) == ("1.5", "0")
    assert (parsed.limit_price, parsed.filled_avg_price) == ("190.25", None)
    assert parsed.symbol == "AAPL"
    assert json.loads(json.dumps(wire)) == wire


def test_an_order_by_amount_has_no_quantity() -> None:
    wire = order_json(accepted_order(quantity=None, notional=Decimal("25.5000")), AAPL)
    assert (wire["qty"], wire["notional"]) == (None, "25.5")
    AlpacaOrder(**wire)


def test_the_average_price_is_shown_without_its_rounding_noise() -> None:
    wire = order_json(accepted_order(filled_avg_price=Decimal("190.250000000")), AAPL)
    assert wire["filled_avg_price"] == "190.25"
    wire = order_json(accepted_order(filled_avg_price=Decimal("190.333333333")), AAPL)
    assert wire["filled_avg_price"] == "190.333333"


def test_the_official_client_reads_a_fill() -> None:
    order = accepted_order(
        status="partially_filled",
        filled_quantity=Decimal(1),
        filled_avg_price=Decimal(190),
    )
    fill = Fill(
        execution_id=uuid.uuid4(),
        price=Decimal("190.0000"),
        quantity=Decimal("1.000000000"),
        position_quantity=Decimal("11.000000000"),
    )
    update = update_json("partial_fill", order, NOON, instrument=AAPL, fill=fill)
    parsed = TradeUpdate(**update)

    assert parsed.execution_id == fill.execution_id
    assert (parsed.price, parsed.qty, parsed.position_qty) == (190, 1, 11)
    assert (update["price"], update["qty"], update["position_qty"]) == ("190", "1", "11")
    assert parsed.timestamp == NOON


def test_an_update_without_a_fill_has_no_execution() -> None:
    update = update_json("canceled", accepted_order(status="canceled"), NOON, instrument=AAPL)
    assert set(update) == {"event", "timestamp", "order"}
    TradeUpdate(**update)


def test_the_official_client_reads_a_trailing_stop() -> None:
    order = accepted_order(
        type="trailing_stop",
        limit_price=None,
        trail_percent=Decimal("1.5000"),
        hwm=Decimal("200.0000"),
        stop_price=Decimal("197.0000"),
    )
    parsed = AlpacaOrder(**order_json(order, AAPL))
    assert (parsed.trail_percent, parsed.trail_price) == ("1.5", None)
    assert (parsed.hwm, parsed.stop_price) == ("200", "197")
