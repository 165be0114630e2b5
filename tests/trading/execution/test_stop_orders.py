"""Stops from acceptance to their fill, settled and written."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from events.models import Event
from portfolios.models import Account
from quotes import halts
from tests.portfolios.factories import assert_books_balance, funded_account, make_instrument
from tests.trading.floor import CLOSE, MORNING, OPENING, TradingFloor, now_of
from trading import orders
from trading.execution import settlement
from trading.execution.decisions import Trigger
from trading.models import Order, OrderType, TimeInForce

pytestmark = pytest.mark.django_db


def stop_buy(floor: TradingFloor, account: Account, at: str, **fields: Any) -> Order:
    """Ten shares to buy once the price is there."""
    return floor.buy(account, "10", **{"type": OrderType.STOP, "stop_price": Decimal(at), **fields})


def trailing_sell(floor: TradingFloor, account: Account, **trail: Any) -> Order:
    floor.buy(account, "10")
    floor.pass_time(seconds=1)
    return floor.sell(account, "10", type=OrderType.TRAILING_STOP, **trail)


def kinds_of(order: Order) -> list[str]:
    events = Event.objects.filter(subject=f"order:{order.public_id}").order_by("account_sequence")
    return [event.kind.removeprefix("trading.") for event in events]


def test_a_stop_rests_holds_its_collar_and_is_triggered_by_a_trade(
    floor: TradingFloor, account: Account
) -> None:
    order = stop_buy(floor, account, "105")
    floor.pass_time(seconds=1)
    resting = now_of(order)
    assert (resting.status, resting.reason, resting.triggered_at) == ("new", "", None)
    assert resting.hold_cash == Decimal("1092")  # 10 × 105 × 1.04

    floor.show("104", "105")
    assert now_of(order).triggered_at is None
    floor.prints("105")
    filled = now_of(order)
    assert (filled.status, filled.filled_avg_price) == ("filled", Decimal(105))
    assert filled.triggered_at is not None
    assert filled.collar_price == Decimal("109.2")
    assert kinds_of(order) == ["order.accepted", "order.new", "stop.triggered", "order.fill"]
    assert_books_balance(account)


def test_the_event_of_a_trigger_names_the_trade(floor: TradingFloor, account: Account) -> None:
    order = stop_buy(floor, account, "105")
    floor.pass_time(seconds=1)
    trade = floor.trade("106.5")
    floor.play(trade)
    event = Event.objects.get(kind="trading.stop.triggered")
    assert event.subject == f"order:{order.public_id}"
    assert event.payload["source"] == "trade"
    assert event.payload["price"] == "106.5"
    assert (event.payload["sequence"], event.payload["epoch"]) == (trade.sequence, 1)


def test_a_stop_limit_becomes_a_limit_order(floor: TradingFloor, account: Account) -> None:
    order = stop_buy(floor, account, "105", type=OrderType.STOP_LIMIT, limit_price=Decimal("105.5"))
    floor.pass_time(seconds=1)
    floor.show("106", "107")
    floor.prints("107")
    waiting = now_of(order)
    assert (waiting.status, waiting.hold_cash) == ("new", Decimal(1055))
    assert waiting.triggered_at is not None
    floor.show("104", "105.4")
    assert now_of(order).filled_avg_price == Decimal("105.4")
    assert_books_balance(account)


def test_a_gap_that_the_account_can_pay_raises_the_hold(
    floor: TradingFloor, account: Account
) -> None:
    order = stop_buy(floor, account, "105")
    floor.pass_time(seconds=1)
    floor.show("119", "120", ask_size=4)
    floor.prints("120")
    part = now_of(order)
    assert (part.filled_quantity, part.collar_price) == (4, Decimal("124.8"))
    assert part.hold_cash == Decimal("748.8")  # 6 × 124.8
    assert_books_balance(account)


def test_a_gap_beyond_the_account_cancels_with_the_numbers(floor: TradingFloor) -> None:
    account = funded_account("1100")
    order = stop_buy(floor, account, "105")
    floor.pass_time(seconds=1)
    floor.show("119", "120")
    floor.prints("120")
    ended = now_of(order)
    assert (ended.status, ended.filled_quantity, ended.hold_cash) == ("canceled", 0, 0)
    assert "needs 1248, has 1100" in ended.reason
    assert kinds_of(order) == ["order.accepted", "order.new", "order.canceled"]
    assert len(floor.engine.floor.book) == 0
    assert_books_balance(account)


def test_the_size_of_a_stop_that_cannot_pay_goes_to_the_next(floor: TradingFloor) -> None:
    poor, rich = funded_account("1100"), funded_account("5000")
    placed = [stop_buy(floor, one, "105") for one in (poor, rich)]
    floor.pass_time(seconds=1)
    floor.show("119", "120", ask_size=10)
    floor.prints("120")
    assert [now_of(order).status for order in placed] == ["canceled", "filled"]
    assert_books_balance(poor, rich)


def test_without_a_usable_quote_the_collar_stands_on_the_trade(
    floor: TradingFloor, account: Account
) -> None:
    order = stop_buy(floor, account, "105")
    floor.play(floor.quote("106", "105"), floor.trade("110"))
    triggered = now_of(order)
    assert (triggered.status, triggered.collar_price) == ("new", Decimal("114.4"))
    assert triggered.reason == "the quote is crossed"
    floor.show("109", "110")
    assert now_of(order).status == "filled"
    assert_books_balance(account)


def test_a_stop_beyond_the_market_is_triggered_when_it_is_taken_in(
    floor: TradingFloor, account: Account
) -> None:
    floor.prints("100")
    order = stop_buy(floor, account, "98")
    floor.pass_time(seconds=1)
    assert now_of(order).status == "filled"
    assert kinds_of(order) == ["order.accepted", "order.new", "stop.triggered", "order.fill"]
    assert_books_balance(account)


def test_stops_sleep_outside_the_session_and_in_halts() -> None:
    market, account = TradingFloor(MORNING), funded_account("100000")
    order = stop_buy(market, account, "105")
    market.show()
    market.prints("110")
    market.prints("110", at=OPENING - timedelta(seconds=1))
    assert now_of(order).status == "accepted"
    market.play(until=OPENING + timedelta(seconds=1))
    assert (now_of(order).status, now_of(order).triggered_at) == ("new", None)
    halts.halt(market.instrument, reason="news", actor="operator:1")
    market.prints("110")
    assert now_of(order).triggered_at is None
    halts.resume(market.instrument, actor="operator:1")
    market.show("109", "110")
    market.prints("110")
    assert now_of(order).status == "filled"
    assert_books_balance(account)


def test_a_day_stop_ends_with_the_session(floor: TradingFloor, account: Account) -> None:
    order = stop_buy(floor, account, "105")
    floor.play(floor.trade("110", at=CLOSE))
    assert (now_of(order).status, now_of(order).hold_cash) == ("expired", 0)
    assert_books_balance(account)


def test_a_trailing_stop_follows_the_bid_and_is_triggered_by_it(
    floor: TradingFloor, account: Account
) -> None:
    order = trailing_sell(floor, account, trail_percent=Decimal(10))
    assert (order.hwm, order.stop_price) == (Decimal(99), Decimal("89.1"))
    floor.show("120", "121")
    assert (now_of(order).hwm, now_of(order).stop_price) == (Decimal(120), Decimal(108))
    floor.show("110", "111")
    floor.prints("1")
    assert now_of(order).status == "new"
    floor.play(floor.quote("130", "131"), floor.quote("117", "118"))
    filled = now_of(order)
    assert (filled.hwm, filled.stop_price) == (Decimal(130), Decimal(117))
    assert (filled.status, filled.filled_avg_price) == ("filled", Decimal(117))
    event = Event.objects.get(kind="trading.stop.triggered")
    assert (event.payload["source"], event.payload["price"]) == ("quote", "117")
    assert (event.payload["hwm"], event.payload["stop_price"]) == ("130", "117")
    assert_books_balance(account)


def test_a_trailing_buy_pays_at_most_its_collar(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "10", type=OrderType.TRAILING_STOP, trail_price=Decimal(5))
    assert (order.hwm, order.stop_price) == (Decimal(100), Decimal(105))
    assert order.hold_cash == Decimal("1092")
    floor.show("89", "90")
    floor.show("94", "95")
    filled = now_of(order)
    assert (filled.status, filled.filled_avg_price) == ("filled", Decimal(95))
    assert (filled.hwm, filled.collar_price) == (Decimal(90), Decimal("98.8"))
    assert_books_balance(account)


def test_moves_of_a_trailing_stop_are_no_events(floor: TradingFloor, account: Account) -> None:
    order = trailing_sell(floor, account, trail_price=Decimal(5))
    for bid in ("105", "110", "115"):
        floor.show(bid, "120")
    assert now_of(order).hwm == Decimal(115)
    assert kinds_of(order) == ["order.accepted", "order.new"]


def test_another_engine_goes_on_from_the_mark_that_was_noted(
    floor: TradingFloor, account: Account
) -> None:
    order = trailing_sell(floor, account, trail_price=Decimal(5))
    floor.show("110", "111")
    floor.restart()
    floor.show("106", "107")
    assert now_of(order).triggered_at is None
    floor.show("105", "106")
    assert now_of(order).status == "filled"
    assert_books_balance(account)


def test_another_engine_knows_waiting_stops_and_triggered_ones(
    floor: TradingFloor, account: Account
) -> None:
    waiting = stop_buy(floor, account, "108", time_in_force=TimeInForce.GTC)
    triggered = stop_buy(floor, account, "105", type=OrderType.STOP_LIMIT, limit_price=Decimal(99))
    floor.pass_time(seconds=1)
    floor.prints("105")
    floor.restart()
    floor.show("98", "99")
    assert now_of(triggered).status == "filled"
    assert now_of(waiting).triggered_at is None
    floor.prints("108")
    assert now_of(waiting).status == "filled"
    assert_books_balance(account)


def test_a_cancel_that_comes_first_is_final(floor: TradingFloor, account: Account) -> None:
    order = stop_buy(floor, account, "105")
    floor.pass_time(seconds=1)
    engine = floor.engine
    orders.cancel(account_id=account.pk, order_id=order.public_id, actor="test")
    engine.floor.hear_trade(floor.trade("105"))
    engine.drain()
    assert now_of(order).status == "canceled"
    assert kinds_of(order) == ["order.accepted", "order.new", "order.canceled"]
    assert_books_balance(account)


def test_settling_a_trigger_again_changes_nothing(
    floor: TradingFloor, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = stop_buy(floor, account, "105")
    floor.pass_time(seconds=1)
    seen: list[tuple[list[Any], dict[str, Any]]] = []

    def remember(decisions: Any, **options: Any) -> Any:
        seen.append((list(decisions), options))
        return settlement.settle(decisions, **options)

    monkeypatch.setattr("trading.execution.pending.settle", remember)
    floor.prints("105")
    assert any(isinstance(one, Trigger) for decisions, _ in seen for one in decisions)
    for decisions, options in seen:
        assert settlement.settle(decisions, **options).dropped == []
    assert kinds_of(order).count("stop.triggered") == 1
    assert_books_balance(account)


def test_batches_never_decide_about_stops(floor: TradingFloor, account: Account) -> None:
    """The same tape, tick by tick and all at once."""
    make_instrument("MSFT")
    seller = funded_account()
    prices = ((101, 102, 102), (103, 104, 104), (100, 101, 100))
    found = []
    for symbol in ("AAPL", "MSFT"):
        floor.show(symbol=symbol)
        floor.buy(seller, "10", symbol=symbol)
        floor.pass_time(seconds=1)
        placed = [stop_buy(floor, account, at, symbol=symbol) for at in ("103", "104", "102")]
        trail = {"type": OrderType.TRAILING_STOP, "trail_price": Decimal(2)}
        placed.append(floor.sell(seller, "10", symbol=symbol, **trail))
        tape: list[Any] = []
        for bid, ask, price in prices:
            tape.append(floor.quote(str(bid), str(ask), ask_size=12, symbol=symbol))
            tape.append(floor.trade(str(price), symbol=symbol))
        first = tape[0].at_us
        tape = [tick._replace(at_us=first + n) for n, tick in enumerate(tape)]
        for batch in [tape] if symbol == "AAPL" else [[tick] for tick in tape]:
            floor.play(*batch)
        found.append(
            [(now_of(one).filled_avg_price, now_of(one).filled_quantity) for one in placed]
        )
    assert found[0] == found[1]
    assert all(quantity for _, quantity in found[0])
    assert_books_balance(account, seller)
