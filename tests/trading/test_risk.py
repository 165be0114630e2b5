from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.ticks import Quote
from trading.errors import (
    AccountBlocked,
    InsufficientBuyingPower,
    InsufficientQuantity,
    NotTradable,
    NoUsablePrice,
    OrderRuleBroken,
)
from trading.holds import Hold, collar, hold_of
from trading.models import Order, OrderType, Side, TimeInForce
from trading.request import OrderRequest
from trading.risk import AccountView, MarketView, assess

DOLLAR = 10_000
QUOTE = Quote("AAPL", 1, 99 * DOLLAR, 300, 100 * DOLLAR, 300, sequence=1)
OPEN = MarketView(symbol="AAPL", is_open=True, quote=QUOTE, last_price=98 * DOLLAR)
CLOSED = replace(OPEN, is_open=False)
RICH = AccountView(cash=Decimal(100_000), hold_cash=Decimal(0))
HOLDER = replace(RICH, quantity=Decimal(10), held_quantity=Decimal(4))

MARKET_BUY = OrderRequest(
    symbol="AAPL",
    side=Side.BUY,
    type=OrderType.MARKET,
    time_in_force=TimeInForce.DAY,
    quantity=Decimal(10),
)
LIMIT_BUY = replace(MARKET_BUY, type=OrderType.LIMIT, limit_price=Decimal(95))
MARKET_SELL = replace(MARKET_BUY, side=Side.SELL, quantity=Decimal(6))


def test_a_limit_buy_holds_its_value() -> None:
    assert assess(LIMIT_BUY, RICH, OPEN)[:2] == (Hold(cash=Decimal(950)), None)


def test_a_market_buy_holds_its_collar() -> None:
    assessment = assess(MARKET_BUY, RICH, OPEN)
    assert assessment.collar_price == Decimal(104)
    assert assessment.hold == Hold(cash=Decimal(1040))


def test_a_buy_by_amount_holds_the_amount() -> None:
    request = replace(MARKET_BUY, quantity=None, notional=Decimal(500))
    assessment = assess(request, RICH, OPEN)
    assert assessment.hold == Hold(cash=Decimal(500))
    assert assessment.collar_price == Decimal(104)


def test_a_market_sell_holds_shares_and_takes_any_price() -> None:
    assert assess(MARKET_SELL, HOLDER, OPEN)[:2] == (Hold(quantity=Decimal(6)), None)


def test_a_sell_by_amount_holds_the_shares_it_may_need() -> None:
    request = replace(MARKET_SELL, quantity=None, notional=Decimal(485))
    assessment = assess(request, HOLDER, OPEN)
    assert assessment.collar_price == Decimal("96.03")
    assert assessment.hold.quantity == Decimal("5.050505051")  # 485 ÷ 96.03, rounded up


def test_short_of_cash_the_refusal_tells_both_numbers() -> None:
    account = replace(RICH, cash=Decimal(1000), hold_cash=Decimal(100))
    with pytest.raises(InsufficientBuyingPower) as refused:
        assess(LIMIT_BUY, account, OPEN)
    assert refused.value.extras == {"buying_power": "900", "cost_basis": "950"}
    assert (refused.value.http_status, refused.value.code) == (403, 40310000)


def test_the_last_cent_of_buying_power_can_be_used() -> None:
    assert assess(LIMIT_BUY, replace(RICH, cash=Decimal(950)), OPEN)


def test_selling_beyond_free_shares_is_refused_with_numbers() -> None:
    with pytest.raises(InsufficientQuantity) as refused:
        assess(replace(MARKET_SELL, quantity=Decimal(7)), HOLDER, OPEN)
    assert refused.value.extras == {
        "symbol": "AAPL",
        "available": "6",
        "existing_qty": "10",
        "held_for_orders": "4",
    }
    assert refused.value.http_status == 403


def test_without_a_position_there_is_nothing_to_sell() -> None:
    with pytest.raises(InsufficientQuantity):
        assess(MARKET_SELL, RICH, OPEN)


@pytest.mark.parametrize(
    "account",
    [
        replace(RICH, is_frozen=True),
        replace(RICH, is_suspended=True),
        replace(RICH, is_active=False),
    ],
)
def test_a_blocked_account_places_no_orders(account: AccountView) -> None:
    with pytest.raises(AccountBlocked):
        assess(LIMIT_BUY, account, OPEN)


def test_untradable_instruments_are_refused() -> None:
    with pytest.raises(NotTradable):
        assess(LIMIT_BUY, RICH, replace(OPEN, is_tradable=False))


HALF = replace(MARKET_BUY, quantity=Decimal("0.5"))


@pytest.mark.parametrize(
    ("request_", "market"),
    [
        (HALF, replace(OPEN, is_fractionable=False)),
        (replace(LIMIT_BUY, quantity=Decimal("0.5"), time_in_force=TimeInForce.GTC), OPEN),
        (replace(HALF, quantity=Decimal("0.009")), OPEN),  # worth 90 cents
        (replace(HALF, quantity=None, notional=Decimal("0.99")), OPEN),
    ],
)
def test_fractional_rules(request_: OrderRequest, market: MarketView) -> None:
    with pytest.raises(OrderRuleBroken):
        assess(request_, RICH, market)


def test_what_a_split_leaves_of_any_asset_can_be_sold_whole() -> None:
    left = replace(RICH, quantity=Decimal("33.333333333"), may_trade_fractions=False)
    whole = replace(MARKET_SELL, quantity=left.quantity)
    market = replace(OPEN, is_fractionable=False)

    assert assess(whole, left, market).hold.quantity == left.quantity
    with pytest.raises(OrderRuleBroken):
        assess(
            replace(whole, quantity=Decimal("0.333333333")),
            replace(left, may_trade_fractions=True),
            market,
        )
    with pytest.raises(AccountBlocked):
        assess(replace(whole, quantity=Decimal("0.333333333")), left, market)


def test_a_forced_sale_may_leave_what_is_held_of_a_fraction() -> None:
    held = replace(RICH, quantity=Decimal("33.333333333"), held_quantity=Decimal(1))
    forced = replace(MARKET_SELL, quantity=Decimal("32.333333333"), is_forced=True)

    assert assess(forced, held, replace(OPEN, is_fractionable=False))


def test_the_last_crumb_of_a_position_can_be_sold() -> None:
    crumb = replace(RICH, quantity=Decimal("0.001"))
    assert assess(replace(MARKET_SELL, quantity=Decimal("0.001")), crumb, OPEN)


def test_fractions_can_be_switched_off() -> None:
    with pytest.raises(AccountBlocked):
        assess(HALF, replace(RICH, may_trade_fractions=False), OPEN)


@pytest.mark.parametrize(
    "market",
    [
        replace(OPEN, quote=None),
        replace(OPEN, is_stale=True),
        replace(OPEN, quote=QUOTE._replace(ask=0)),
        replace(OPEN, quote=QUOTE._replace(bid=101 * DOLLAR)),
    ],
)
def test_in_an_open_market_a_market_order_needs_a_usable_quote(market: MarketView) -> None:
    with pytest.raises(NoUsablePrice) as refused:
        assess(MARKET_BUY, RICH, market)
    assert (refused.value.http_status, refused.value.code) == (422, 42210000)
    assert assess(LIMIT_BUY, RICH, market)


def test_a_closed_market_holds_against_the_last_price() -> None:
    assert assess(MARKET_BUY, RICH, CLOSED).collar_price == Decimal("101.92")


def test_a_closed_market_without_any_price_refuses_market_orders() -> None:
    with pytest.raises(NoUsablePrice):
        assess(MARKET_BUY, RICH, replace(CLOSED, quote=None, last_price=0))


def test_ioc_needs_an_open_market() -> None:
    request = replace(LIMIT_BUY, time_in_force=TimeInForce.IOC)
    assert assess(request, RICH, OPEN)
    with pytest.raises(OrderRuleBroken):
        assess(request, RICH, CLOSED)


@pytest.mark.parametrize("time_in_force", [TimeInForce.OPG, TimeInForce.CLS])
def test_an_auction_order_outside_its_window_is_refused(time_in_force: TimeInForce) -> None:
    request = replace(LIMIT_BUY, time_in_force=time_in_force)
    assert assess(request, RICH, CLOSED)
    with pytest.raises(OrderRuleBroken, match="shortly before the auction"):
        assess(request, RICH, replace(CLOSED, takes_order=False))


STOP_BUY = replace(MARKET_BUY, type=OrderType.STOP, stop_price=Decimal(110))


def test_a_buy_stop_holds_a_collar_above_its_stop() -> None:
    assessment = assess(STOP_BUY, RICH, OPEN)
    assert assessment.collar_price == Decimal("114.4")
    assert assessment.hold == Hold(cash=Decimal(1144))


def test_a_stop_limit_holds_its_limit() -> None:
    request = replace(STOP_BUY, type=OrderType.STOP_LIMIT, limit_price=Decimal(111))
    assert assess(request, RICH, OPEN)[:2] == (Hold(cash=Decimal(1110)), None)


def test_a_sell_stop_holds_its_shares() -> None:
    request = replace(MARKET_SELL, type=OrderType.STOP, stop_price=Decimal(90))
    assert assess(request, HOLDER, OPEN)[:2] == (Hold(quantity=Decimal(6)), None)


def test_a_trailing_buy_starts_from_the_ask_and_holds_a_collar_above_its_stop() -> None:
    request = replace(MARKET_BUY, type=OrderType.TRAILING_STOP, trail_percent=Decimal(5))
    assessment = assess(request, RICH, OPEN)
    assert (assessment.hwm, assessment.stop_price) == (Decimal(100), Decimal(105))
    assert assessment.collar_price == Decimal("109.2")


def test_a_trailing_sell_starts_from_the_bid() -> None:
    request = replace(MARKET_SELL, type=OrderType.TRAILING_STOP, trail_price=Decimal("2.5"))
    assessment = assess(request, HOLDER, OPEN)
    assert (assessment.hwm, assessment.stop_price) == (Decimal(99), Decimal("96.5"))


def test_a_trail_that_leaves_no_price_is_refused() -> None:
    request = replace(MARKET_SELL, type=OrderType.TRAILING_STOP, trail_price=Decimal(99))
    with pytest.raises(OrderRuleBroken, match="market price of 99"):
        assess(request, HOLDER, OPEN)


def test_a_trailing_stop_needs_a_price_to_follow() -> None:
    request = replace(MARKET_BUY, type=OrderType.TRAILING_STOP, trail_price=Decimal(1))
    with pytest.raises(NoUsablePrice):
        assess(request, RICH, replace(OPEN, quote=None, last_price=0))


def test_orders_in_a_halt_are_accepted_and_wait() -> None:
    market = replace(OPEN, is_halted=True, quote=None)
    assert assess(MARKET_BUY, RICH, market).collar_price == Decimal("101.92")


def test_a_buy_limit_far_above_the_market_is_a_slip() -> None:
    with pytest.raises(OrderRuleBroken, match="10 times"):
        assess(replace(LIMIT_BUY, quantity=Decimal(1), limit_price=Decimal(1001)), RICH, OPEN)
    assert assess(replace(LIMIT_BUY, quantity=Decimal(1), limit_price=Decimal(1000)), RICH, OPEN)


def test_an_order_worth_too_much_is_refused_before_its_cash_is_counted() -> None:
    request = replace(MARKET_BUY, quantity=Decimal(10**9))
    with pytest.raises(OrderRuleBroken, match="order value"):
        assess(request, RICH, replace(OPEN, quote=QUOTE._replace(ask=1_000 * DOLLAR)))


@given(st.integers(1, 10**11))
def test_a_collar_never_undercuts_the_touch(ask: int) -> None:
    assert collar(True, ask) >= ask
    assert 1 <= collar(False, ask) <= ask


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(1, 10**7))
def test_a_hold_covers_exactly_what_is_left(quantity: int, filled: int, price: int) -> None:
    filled = min(filled, quantity)
    order = Order(
        side="buy",
        quantity=Decimal(quantity).scaleb(-9),
        filled_quantity=Decimal(filled).scaleb(-9),
        limit_price=Decimal(price).scaleb(-4),
    )
    exact = (order.quantity - order.filled_quantity) * order.limit_price
    held = hold_of(order).cash
    assert exact <= held < exact + Decimal("0.0001")
