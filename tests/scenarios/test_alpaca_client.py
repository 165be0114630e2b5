"""The official Alpaca client, unchanged but for its URLs, against a running Openbell."""

from __future__ import annotations

import queue
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.live import StockDataStream
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import (
    OrderClass,
    OrderSide,
    OrderStatus,
    PositionIntent,
    PositionSide,
    QueryOrderStatus,
    TimeInForce,
)
from alpaca.trading.models import NonTradeActivity, Order, TradeActivity, TradeUpdate
from alpaca.trading.requests import (
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
)
from alpaca.trading.stream import TradingStream

from tests.official_client import running
from tests.running import RunningPlatform
from tests.waiting import eventually

WAIT_SECONDS_MAX = 20


@pytest.fixture(scope="module")
def trading(platform: RunningPlatform) -> TradingClient:
    return TradingClient(platform.key, platform.secret, url_override=platform.url)


@pytest.fixture(scope="module")
def history(platform: RunningPlatform) -> StockHistoricalDataClient:
    return StockHistoricalDataClient(platform.key, platform.secret, url_override=platform.url)


def next_matching(messages: queue.Queue[Any], matches: Any) -> Any:
    while True:
        message = messages.get(timeout=WAIT_SECONDS_MAX)
        if matches(message):
            return message


def market_buy(symbol: str, quantity: float) -> MarketOrderRequest:
    return MarketOrderRequest(
        symbol=symbol,
        qty=quantity,
        side=OrderSide.BUY,
        time_in_force=TimeInForce.DAY,
        client_order_id=str(uuid.uuid4()),
    )


def test_account_shows_its_funds(trading: TradingClient) -> None:
    account = trading.get_account()

    assert float(account.cash) > 0
    assert float(account.equity) > 0
    assert float(account.buying_power) > 0
    assert account.status == "ACTIVE"


def test_clock_and_calendar_agree_that_the_simulated_market_is_open(trading: TradingClient) -> None:
    clock = trading.get_clock()
    today = clock.timestamp.date()
    days = trading.get_calendar(GetCalendarRequest(start=today, end=today + timedelta(days=7)))

    assert clock.is_open
    assert clock.next_close > clock.timestamp
    assert len(days) >= 5


def test_assets_can_be_listed_and_looked_up(trading: TradingClient) -> None:
    assets = trading.get_all_assets(GetAssetsRequest())

    assert {"AAPL", "MSFT"} <= {asset.symbol for asset in assets}
    assert trading.get_asset("AAPL").tradable


@pytest.fixture(scope="module")
def updates(
    platform: RunningPlatform, trading: TradingClient
) -> Iterator[queue.Queue[TradeUpdate]]:
    """What the official client hears of the account's orders."""
    updates: queue.Queue[Any] = queue.Queue()
    stream = TradingStream(
        platform.key, platform.secret, url_override=f"ws://127.0.0.1:{platform.port}/stream"
    )

    async def remember(update: Any) -> None:
        updates.put(update)

    stream.subscribe_trade_updates(remember)
    with running(stream):
        # The client gives no sign that it listens; an order that rests and is cancelled does.
        wake_up(trading, updates)
        yield updates


def test_a_market_order_fills_and_the_trading_stream_tells(
    trading: TradingClient, updates: queue.Queue[TradeUpdate]
) -> None:
    order = trading.submit_order(market_buy("AAPL", 3))
    fill = next_matching(
        updates, lambda update: update.event == "fill" and update.order.id == order.id
    )

    assert float(fill.order.filled_qty) == 3
    assert fill.order.status == OrderStatus.FILLED
    assert float(fill.position_qty) >= 3
    assert trading.get_order_by_id(order.id).status == OrderStatus.FILLED
    position = trading.get_open_position("AAPL")
    assert float(position.qty) >= 3


def test_the_trading_stream_tells_of_replacements_and_of_exits(
    trading: TradingClient, updates: queue.Queue[TradeUpdate]
) -> None:
    """What rests far from the market: all of its events in their order, legs included."""
    told: dict[Any, list[str]] = defaultdict(list)

    def wait_for_events(order: Order, *events: str) -> None:
        while told[order.id] != [*events]:
            update = updates.get(timeout=WAIT_SECONDS_MAX)
            told[update.order.id].append(update.event)

    old = trading.submit_order(far_buy())
    wait_for_events(old, "accepted", "new")
    new = trading.replace_order_by_id(old.id, ReplaceOrderRequest(qty=2, limit_price=1.10))
    wait_for_events(old, "accepted", "new", "replaced")
    wait_for_events(new, "accepted", "new")
    trading.cancel_order_by_id(new.id)
    wait_for_events(new, "accepted", "new", "canceled")

    exits = {
        "take_profit": TakeProfitRequest(limit_price=2.00),
        "stop_loss": StopLossRequest(stop_price=0.50),
    }
    entry = trading.submit_order(far_buy(order_class=OrderClass.BRACKET, **exits))
    wait_for_events(entry, "accepted", "new")
    trading.cancel_order_by_id(entry.id)
    wait_for_events(entry, "accepted", "new", "canceled")
    for leg in entry.legs:
        wait_for_events(leg, "held", "canceled")


def far_buy(**more: Any) -> LimitOrderRequest:
    return LimitOrderRequest(
        symbol="MSFT",
        qty=1,
        limit_price=1.00,
        side=OrderSide.BUY,
        time_in_force=TimeInForce.GTC,
        **more,
    )


def wake_up(trading: TradingClient, updates: queue.Queue[Any]) -> None:
    """Place and cancel far-away orders until the stream reports one."""
    for _ in range(WAIT_SECONDS_MAX):
        order = trading.submit_order(far_buy())
        trading.cancel_order_by_id(order.id)
        try:
            updates.get(timeout=1)
        except queue.Empty:
            continue
        return
    raise AssertionError("the trading stream reported nothing")


def test_a_limit_order_rests_and_can_be_canceled(trading: TradingClient) -> None:
    order = trading.submit_order(
        LimitOrderRequest(
            symbol="AAPL",
            qty=1.5,
            limit_price=2.00,
            side=OrderSide.BUY,
            time_in_force=TimeInForce.DAY,
        )
    )
    listed = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, symbols=["AAPL"]))
    trading.cancel_order_by_id(order.id)

    assert order.id in {open_order.id for open_order in listed}
    assert trading.get_order_by_client_id(order.client_order_id).status == OrderStatus.CANCELED


def test_refusals_carry_code_and_numbers(trading: TradingClient) -> None:
    with pytest.raises(APIError) as refused:
        trading.submit_order(
            LimitOrderRequest(
                symbol="AAPL",
                qty=1_000_000,
                limit_price=900.00,
                side=OrderSide.BUY,
                time_in_force=TimeInForce.DAY,
            )
        )

    assert refused.value.code == 40310000
    assert "buying power" in refused.value.message
    assert refused.value.status_code == 403


def test_a_program_sells_short_on_margin_and_covers(trading: TradingClient) -> None:
    choices = trading.get_account_configurations()
    choices.max_margin_multiplier = "2"
    assert trading.set_account_configurations(choices).max_margin_multiplier == "2"
    before = trading.get_account()
    assert float(before.buying_power) > float(before.cash)
    assert before.shorting_enabled

    order = market_buy("MSFT", 3)
    order.side = OrderSide.SELL
    assert trading.submit_order(order).position_intent == PositionIntent.SELL_TO_OPEN
    eventually(lambda: held(trading, "MSFT"), "the position")
    position = held(trading, "MSFT")
    assert (position.side, position.qty) == (PositionSide.SHORT, "-3")

    trading.close_position("MSFT")
    eventually(lambda: held(trading, "MSFT") is None, "its end")


def held(trading: TradingClient, symbol: str) -> Any:
    """The position, None where there is none."""
    return next((one for one in trading.get_all_positions() if one.symbol == symbol), None)


def test_the_portfolio_has_a_history_that_leaves_the_deposit_out(trading: TradingClient) -> None:
    told = trading.get_portfolio_history(
        GetPortfolioHistoryRequest(period="1D", timeframe="1Min", extended_hours=True)
    )
    days = trading.get_portfolio_history()

    equity = float(trading.get_account().equity)
    assert len(told.timestamp) == len(told.equity) == len(told.profit_loss) > 0
    assert told.timestamp == sorted(told.timestamp)
    assert days.timeframe == "1D"
    for one in (told, days):
        (paid_in,) = one.cashflow.values()
        assert one.profit_loss[-1] == pytest.approx(one.equity[-1] - paid_in[-1])
        assert one.equity[-1] == pytest.approx(equity, rel=0.01)  # the market goes on meanwhile


def test_activities_hold_the_deposit_and_the_fills(trading: TradingClient) -> None:
    rows = trading.get("/account/activities", {"direction": "asc"})

    read = [
        TradeActivity(**row) if row["activity_type"] == "FILL" else NonTradeActivity(**row)
        for row in rows
    ]
    assert isinstance(read[0], NonTradeActivity)
    assert read[0].net_amount > 0


def test_quotes_and_trades_stream(platform: RunningPlatform) -> None:
    ticks: queue.Queue[Any] = queue.Queue()
    stream = StockDataStream(
        platform.key, platform.secret, url_override=f"ws://127.0.0.1:{platform.port}/v2/iex"
    )

    async def remember(tick: Any) -> None:
        ticks.put(tick)

    stream.subscribe_quotes(remember, "AAPL", "MSFT")
    stream.subscribe_trades(remember, "*")
    with running(stream):
        quote = next_matching(ticks, lambda tick: hasattr(tick, "bid_price"))
        trade = next_matching(ticks, lambda tick: hasattr(tick, "size"))

    assert quote.symbol in {"AAPL", "MSFT"}
    assert 0 < quote.bid_price < quote.ask_price
    assert trade.price > 0


def test_latest_data_and_snapshots(history: StockHistoricalDataClient) -> None:
    symbols = ["AAPL", "MSFT"]
    asked = StockLatestTradeRequest(symbol_or_symbols=symbols)
    eventually(lambda: len(history.get_stock_latest_trade(asked)) == 2, "a trade in each")
    trades = history.get_stock_latest_trade(asked)
    quotes = history.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=symbols))
    bars = history.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols=symbols))
    snapshots = history.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=symbols))

    for symbol in symbols:
        assert 0 < quotes[symbol].bid_price < quotes[symbol].ask_price
        assert trades[symbol].price > 0
        assert bars[symbol].high >= bars[symbol].low
        assert snapshots[symbol].latest_quote.ask_price > 0
        assert snapshots[symbol].daily_bar.volume > 0
        assert snapshots[symbol].previous_daily_bar.close > 0


def test_bars_come_in_pages_without_gap_or_repetition(
    trading: TradingClient, history: StockHistoricalDataClient
) -> None:
    now = trading.get_clock().timestamp
    minutes = history.get_stock_bars(
        StockBarsRequest(
            symbol_or_symbols=["AAPL", "MSFT"],
            timeframe=TimeFrame.Minute,
            start=now - timedelta(days=6),
            end=now,
        )
    )
    for symbol in ("AAPL", "MSFT"):
        starts = [bar.timestamp for bar in minutes[symbol]]
        assert len(starts) > 6_000
        assert starts == sorted(set(starts))


def test_five_minute_bars_are_the_aggregate_of_their_minutes(
    trading: TradingClient, history: StockHistoricalDataClient
) -> None:
    hour = trading.get_clock().timestamp.replace(minute=0, second=0, microsecond=0)
    end = hour - timedelta(hours=1)  # its last bars are long written, also when the hour begins now
    window = {"start": end - timedelta(hours=2), "end": end - timedelta(minutes=1)}

    def bars(timeframe: TimeFrame) -> list[Any]:
        request = StockBarsRequest(symbol_or_symbols="AAPL", timeframe=timeframe, **window)
        return history.get_stock_bars(request)["AAPL"]

    minutes = bars(TimeFrame.Minute)
    fives = bars(TimeFrame(5, TimeFrameUnit.Minute))

    assert len(fives) == 24
    assert sum(bar.volume for bar in fives) == sum(bar.volume for bar in minutes)
    assert max(bar.high for bar in fives) == max(bar.high for bar in minutes)
    assert fives[0].open == minutes[0].open
    assert fives[-1].close == minutes[-1].close


def test_a_year_of_daily_bars_stands_at_first_start(
    trading: TradingClient, history: StockHistoricalDataClient
) -> None:
    now = trading.get_clock().timestamp
    days = history.get_stock_bars(
        StockBarsRequest(
            symbol_or_symbols="SPY",
            timeframe=TimeFrame.Day,
            start=now - timedelta(days=360),
            end=now,
        )
    )

    assert len(days["SPY"]) > 240
