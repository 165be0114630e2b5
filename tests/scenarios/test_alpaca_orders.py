"""Order classes and replacements by the official Alpaca client, against a running Openbell."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockLatestQuoteRequest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, QueryOrderStatus, TimeInForce
from alpaca.trading.models import Order
from alpaca.trading.requests import (
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)

from tests.running import RunningPlatform
from tests.waiting import eventually

SYMBOL = "MSFT"
WAIT_SECONDS_MAX = 20.0


@pytest.fixture(scope="module")
def trading(platform: RunningPlatform) -> TradingClient:
    return TradingClient(platform.key, platform.secret, url_override=platform.url)


@pytest.fixture(scope="module")
def price(platform: RunningPlatform) -> float:
    """About where the market is."""
    history = StockHistoricalDataClient(platform.key, platform.secret, url_override=platform.url)
    asked = StockLatestQuoteRequest(symbol_or_symbols=SYMBOL)
    eventually(lambda: SYMBOL in history.get_stock_latest_quote(asked), "the first quote")
    return history.get_stock_latest_quote(asked)[SYMBOL].ask_price


def when(trading: TradingClient, order_id: UUID | str, status: str) -> Order:
    """The order with its legs, once it has that status."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        order: Any = trading.get_order_by_id(order_id, GetOrderByIdRequest(nested=True))
        if order.status == status:
            return order
        assert time.monotonic() < deadline, f"{order.status}, not {status}"
        time.sleep(0.02)


def exits(price: float) -> dict[str, Any]:
    """Far beyond the market on both sides."""
    return {
        "take_profit": TakeProfitRequest(limit_price=round(price * 1.5, 2)),
        "stop_loss": StopLossRequest(stop_price=round(price * 0.5, 2)),
    }


def test_a_resting_order_is_replaced(trading: TradingClient) -> None:
    request = LimitOrderRequest(
        symbol=SYMBOL, qty=2, limit_price=2.00, side=OrderSide.BUY, time_in_force=TimeInForce.GTC
    )
    old = when(trading, trading.submit_order(request).id, "new")
    new = trading.replace_order_by_id(old.id, ReplaceOrderRequest(qty=3, limit_price=2.50))

    assert (new.replaces, new.qty, new.limit_price) == (old.id, "3", "2.5")
    assert when(trading, old.id, "replaced").replaced_by == new.id
    when(trading, new.id, "new")
    with pytest.raises(APIError) as refused:
        trading.replace_order_by_id(old.id, ReplaceOrderRequest(qty=4))
    assert (refused.value.status_code, refused.value.code) == (422, 42210000)
    trading.cancel_order_by_id(new.id)


def test_a_bracket_enters_and_its_exits_end_together(trading: TradingClient, price: float) -> None:
    placed = trading.submit_order(
        MarketOrderRequest(
            symbol=SYMBOL,
            qty=2,
            side=OrderSide.BUY,
            time_in_force=TimeInForce.GTC,
            order_class=OrderClass.BRACKET,
            **exits(price),
        )
    )
    assert [leg.status for leg in placed.legs or []] == ["held", "held"]
    profit, loss = when(trading, placed.id, "filled").legs or []
    when(trading, loss.id, "new")
    assert trading.get_open_position(SYMBOL).qty_available == "0"

    moved = trading.replace_order_by_id(
        loss.id, ReplaceOrderRequest(stop_price=round(price * 0.6, 2))
    )
    assert moved.order_class == OrderClass.BRACKET
    nested = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, nested=True))
    (listed,) = [order for order in nested if order.id == placed.id]
    assert {leg.id for leg in listed.legs or []} == {profit.id, moved.id}

    trading.cancel_order_by_id(profit.id)
    assert when(trading, moved.id, "canceled").filled_qty == "0"
    assert trading.get_open_position(SYMBOL).qty_available == "2"


def test_an_oco_guards_the_position_and_a_trailing_stop_follows(
    trading: TradingClient, price: float
) -> None:
    pair = trading.submit_order(
        LimitOrderRequest(
            symbol=SYMBOL,
            qty=2,
            side=OrderSide.SELL,
            time_in_force=TimeInForce.GTC,
            order_class=OrderClass.OCO,
            **exits(price),
        )
    )
    (stop,) = when(trading, pair.id, "new").legs or []
    when(trading, stop.id, "new")
    trading.cancel_order_by_id(pair.id)
    when(trading, stop.id, "canceled")

    request = TrailingStopOrderRequest(
        symbol=SYMBOL,
        qty=2,
        side=OrderSide.SELL,
        time_in_force=TimeInForce.GTC,
        trail_percent=50,
    )
    trailing = when(trading, trading.submit_order(request).id, "new")
    assert float(trailing.stop_price or 0) <= float(trailing.hwm or 0) / 2
    nearer = trading.replace_order_by_id(trailing.id, ReplaceOrderRequest(trail=40))
    assert nearer.trail_percent == "40"
    assert float(nearer.hwm or 0) >= float(trailing.hwm or 0)
    when(trading, nearer.id, "new")
    trading.cancel_order_by_id(nearer.id)
    when(trading, trading.close_position(SYMBOL).id, "filled")
