"""Orders on open and on close, from acceptance to the auction."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from events.models import Event
from quotes import halts
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import CLOSE, MORNING, NOON, OPENING, TradingFloor, now_of
from trading.errors import OrderRuleBroken
from trading.models import Fill, Order, TimeInForce

pytestmark = pytest.mark.django_db

OPG, CLS = {"time_in_force": TimeInForce.OPG}, {"time_in_force": TimeInForce.CLS}
SECOND = timedelta(seconds=1)


@pytest.fixture
def morning() -> TradingFloor:
    """Before the opening, at a last price of 100."""
    floor = TradingFloor(MORNING)
    floor.show()
    floor.print_trade("100")
    return floor


def kinds_of(order: Order) -> list[str]:
    events = Event.objects.filter(subject=f"order:{order.public_id}").order_by("account_sequence")
    return [event.kind.removeprefix("trading.order.") for event in events]


def test_the_opening_auction_fills_at_its_price(morning: TradingFloor) -> None:
    account = funded_account()
    market = morning.buy(account, "10", **OPG)
    limit = morning.buy(account, "10", limit="101.5", **OPG)
    beyond = morning.buy(account, "10", limit="100", **OPG)
    assert (now_of(market).status, market.reason) == (
        "accepted",
        "waiting for the opening auction",
    )
    morning.play(morning.quote("98", "99", at=OPENING + SECOND))
    assert {now_of(one).status for one in (market, limit, beyond)} == {"accepted"}

    morning.play(morning.trade("101", 5, at=OPENING + 2 * SECOND, auction="open"))
    assert [now_of(one).filled_avg_price for one in (market, limit)] == [101, 101]
    assert now_of(beyond).status == "canceled"
    assert "the auction's price was 101" in now_of(beyond).reason
    assert kinds_of(market) == ["accepted", "new", "fill"]
    assert kinds_of(beyond) == ["accepted", "canceled"]
    fill = Fill.objects.get(order=market)
    assert (fill.bid, fill.ask, fill.resolution) == (101, 101, "auction")
    assert_books_balance(account)


def test_a_market_order_that_the_auction_made_too_dear_is_rejected(morning: TradingFloor) -> None:
    account = funded_account("1100")
    order = morning.buy(account, "10", **OPG)
    morning.play(morning.trade("120", at=OPENING + SECOND, auction="open"))
    assert (now_of(order).status, now_of(order).filled_quantity) == ("rejected", 0)
    assert "needs 1200, has 1100" in now_of(order).reason
    assert_books_balance(account)


def test_an_auction_beyond_the_collar_fills_who_can_pay(morning: TradingFloor) -> None:
    account = funded_account("10000")
    order = morning.buy(account, "10", **OPG)
    morning.play(morning.trade("120", at=OPENING + SECOND, auction="open"))
    assert now_of(order).filled_avg_price == 120
    assert_books_balance(account)


def test_the_closing_auction_prints_after_the_close() -> None:
    floor = TradingFloor(NOON)
    floor.show()
    account = funded_account()
    bought = floor.buy(account, "10")
    floor.pass_time(seconds=1)
    order = floor.sell(account, "10", **CLS)
    assert order.reason == "waiting for the closing auction"
    floor.play(floor.trade("97", at=CLOSE + SECOND, auction="close"))
    assert (now_of(bought).status, now_of(order).filled_avg_price) == ("filled", 97)
    assert now_of(order).filled_at == CLOSE + SECOND
    assert_books_balance(account)


def test_an_order_whose_auction_never_prints_ends(morning: TradingFloor) -> None:
    account = funded_account()
    order = morning.buy(account, "10", **OPG)
    morning.play(until=OPENING + timedelta(minutes=30))
    assert (now_of(order).status, now_of(order).hold_cash) == ("expired", 0)
    morning.prints("99", auction="open")
    assert Fill.objects.count() == 0
    assert_books_balance(account)


def test_no_auction_is_held_in_a_halt(morning: TradingFloor) -> None:
    order = morning.buy(funded_account(), "10", **OPG)
    halts.halt(morning.instrument, reason="news", actor="operator:1")
    morning.play(morning.trade("99", at=OPENING + SECOND, auction="open"))
    assert now_of(order).status == "accepted"


def test_another_engine_finds_who_waits(morning: TradingFloor) -> None:
    account = funded_account()
    order = morning.buy(account, "10", **OPG)
    morning.pass_time(seconds=1)
    morning.restart()
    morning.play(morning.trade("99", at=OPENING + SECOND, auction="open"))
    assert now_of(order).filled_avg_price == 99
    assert_books_balance(account)


def test_outside_its_window_an_auction_order_is_refused() -> None:
    floor = TradingFloor(NOON)
    floor.show()
    with pytest.raises(OrderRuleBroken, match="opg orders are taken until"):
        floor.buy(funded_account(), "10", **OPG)
    assert floor.buy(funded_account(), "1", limit="98", **CLS).expires_at == CLOSE + timedelta(
        minutes=30
    )


def test_fok_is_filled_whole_or_canceled() -> None:
    floor = TradingFloor(NOON)
    floor.show(ask_size=10)
    account = funded_account()
    fok = {"time_in_force": TimeInForce.FOK, "limit": "100"}
    large, small = floor.buy(account, "11", **fok), floor.buy(account, "10", **fok)
    floor.pass_time(seconds=1)
    assert (now_of(large).status, now_of(large).filled_quantity) == ("canceled", 0)
    assert now_of(large).reason == "not all of it could be had at once"
    assert (now_of(small).status, now_of(small).filled_quantity) == ("filled", Decimal(10))
    assert_books_balance(account)
