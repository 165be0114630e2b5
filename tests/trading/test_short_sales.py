"""Short sales from the order to the books, in a market that moves when the test says so."""

from __future__ import annotations

from decimal import Decimal

import pytest

from portfolios.configurations import configure
from portfolios.models import Account, Position
from portfolios.queries import account_summary, portfolio
from tests.portfolios.factories import assert_books_balance, funded_account, margin_account
from tests.trading.floor import MORNING, OPENING, TradingFloor, now_of
from trading.closing import close_position
from trading.errors import (
    InsufficientBuyingPower,
    InsufficientQuantity,
    OrderRuleBroken,
    ShortingForbidden,
    WashTrade,
)
from trading.models import Fill, Intent, Order, OrderStatus
from trading.verification import verify_fills

pytestmark = pytest.mark.django_db


def position(account: Account) -> Position:
    return Position.objects.get(account_id=account.pk)


def power(account: Account) -> Decimal:
    account.refresh_from_db()
    return account_summary(account).buying_power


def settled(floor: TradingFloor, order: Order) -> Order:
    floor.pass_time(seconds=1)
    return now_of(order)


def test_short_cover_in_parts_and_the_profit_of_it(floor):
    account = margin_account()
    short = floor.sell(account, "50")
    assert (short.intent, short.collar_price) == (Intent.SELL_TO_OPEN, Decimal("96.03"))
    # 50 shares at 3 % above the ask, half of it.
    assert (short.hold_cash, short.hold_quantity) == (Decimal(2575), 0)
    assert power(account) == 20000 - 5150

    assert settled(floor, short).status == OrderStatus.FILLED
    held = position(account)
    assert (held.quantity, held.cost_basis) == (Decimal(-50), Decimal(-4950))
    account.refresh_from_db()
    assert (account.cash, account.hold_cash) == (Decimal(14950), 0)

    floor.show("89", "90")
    cover = floor.buy(account, "20")
    assert (cover.intent, cover.hold_cash, cover.hold_quantity) == (Intent.BUY_TO_CLOSE, 0, 20)
    settled(floor, cover)
    assert position(account).realized == Decimal(180)  # 20 × (99 − 90)

    rest = close_position(account_id=account.pk, symbol="AAPL", actor="test")
    assert (rest.side, rest.quantity) == ("buy", Decimal(30))
    settled(floor, rest)
    assert (position(account).quantity, position(account).realized) == (0, Decimal(450))
    account.refresh_from_db()
    assert account.cash == Decimal(10450)
    assert_books_balance(account)
    assert [step.wrong for step in verify_fills()] == [None]


def test_a_short_is_a_negative_position_with_its_profit_and_its_margin(floor):
    account = margin_account()
    settled(floor, floor.sell(account, "50"))
    floor.show("109", "111")
    account.refresh_from_db()

    picture = portfolio(account)

    (view,) = picture.positions
    assert (view.side, view.market_value, view.unrealized_pl) == (
        "short",
        Decimal(-5500),
        Decimal(-550),
    )
    assert picture.summary.equity == Decimal(9450)  # 14,950 − 5,500
    assert picture.summary.margin.maintenance == Decimal(1650)
    assert picture.summary.buying_power == (Decimal(9450) - 2750) * 2


def test_two_covers_cannot_close_the_same_shares(floor):
    account = margin_account()
    settled(floor, floor.sell(account, "50"))

    floor.buy(account, "30", limit="80")
    with pytest.raises(InsufficientQuantity) as refused:
        floor.buy(account, "21", limit="80")

    assert refused.value.extras["available"] == "20"
    assert refused.value.extras["existing_qty"] == "50"
    assert_books_balance(account)


def test_one_order_crosses_neither_from_short_to_long_nor_back(floor):
    account = margin_account()
    settled(floor, floor.sell(account, "10"))
    with pytest.raises(InsufficientQuantity):
        floor.buy(account, "11")

    settled(floor, floor.buy(account, "10"))
    settled(floor, floor.buy(account, "10"))
    with pytest.raises(InsufficientQuantity):
        floor.sell(account, "11")


def test_a_limit_far_above_the_ask_counts_instead_of_the_collar(floor):
    account = margin_account()
    short = floor.sell(account, "10", limit="150")

    assert (short.hold_price, short.hold_cash) == (Decimal(150), Decimal(750))


def test_a_short_beyond_the_buying_power_is_refused_with_both_numbers(floor):
    account = margin_account()
    with pytest.raises(InsufficientBuyingPower) as refused:
        floor.sell(account, "200")

    assert refused.value.extras == {"buying_power": "20000", "cost_basis": "20600"}
    assert floor.sell(account, "194")  # worth 19,982


def test_who_may_not_short_hears_why(floor):
    cash_account = funded_account()
    with pytest.raises(InsufficientQuantity):
        floor.sell(cash_account, "1")

    unwilling = margin_account()
    configure(account_id=unwilling.pk, changes={"no_shorting": True}, actor="test")
    with pytest.raises(ShortingForbidden, match="not allowed to short"):
        floor.sell(unwilling, "1")

    with pytest.raises(ShortingForbidden) as refused:
        floor.sell(margin_account("1999"), "1")
    assert refused.value.extras == {"equity": "1999", "minimum": "2000"}


@pytest.mark.parametrize("flag", ["shortable", "easy_to_borrow"])
def test_what_nobody_lends_is_not_sold_short(floor, flag):
    setattr(floor.instrument, flag, False)
    floor.instrument.save()

    with pytest.raises(OrderRuleBroken, match="AAPL cannot be sold short"):
        floor.sell(margin_account(), "1")


@pytest.mark.parametrize(
    "size", [{"quantity": "0.5"}, {"quantity": None, "notional": Decimal(100)}]
)
def test_fractions_are_not_sold_short(floor, size):
    with pytest.raises(OrderRuleBroken, match="fractional orders cannot be sold short"):
        floor.sell(margin_account(), size.pop("quantity"), **size)


def test_a_long_cannot_be_opened_while_a_short_sale_waits_nor_the_other_way(floor):
    account = margin_account()
    waiting = floor.sell(account, "5", limit="120")
    with pytest.raises(WashTrade, match="cannot open a long buy") as refused:
        floor.buy(account, "5", limit="80")
    assert refused.value.extras["existing_order_id"] == str(waiting.public_id)

    other = margin_account()
    floor.buy(other, "5", limit="80")
    with pytest.raises(WashTrade, match="cannot open a short sell"):
        floor.sell(other, "5", limit="120")


def test_a_short_sale_waits_where_the_bid_has_left_its_collar(floor):
    account = margin_account()
    floor.show("99", "100", bid_size=4)
    short = floor.sell(account, "10")
    floor.show("95", "97")
    assert now_of(short).filled_quantity == 4
    assert "protected" in now_of(short).reason
    floor.show("97", "98")

    assert now_of(short).status == OrderStatus.FILLED
    assert [fill.price for fill in Fill.objects.order_by("number")] == [99, 97]
    assert_books_balance(account)


def test_a_short_sale_queued_overnight_gets_its_collar_and_its_hold_at_the_opening():
    floor = TradingFloor(MORNING)
    floor.print_trade("50")
    account = margin_account()
    short = floor.sell(account, "100")
    assert (short.hold_price, short.hold_cash) == (Decimal("51.5"), Decimal(2575))

    floor.play(floor.quote("99", "100", at=OPENING))
    filled = now_of(short)
    assert (filled.status, filled.collar_price, filled.hold_price) == (
        OrderStatus.FILLED,
        Decimal("96.03"),
        Decimal(103),
    )
    assert_books_balance(account)


def test_a_queued_short_that_the_opening_makes_too_dear_is_rejected():
    floor = TradingFloor(MORNING)
    floor.print_trade("50")
    account = margin_account()
    short = floor.sell(account, "300")  # worth 15,450 of 20,000

    floor.play(floor.quote("99", "100", at=OPENING))

    rejected = now_of(short)
    assert rejected.status == OrderStatus.REJECTED
    assert "needs 30900" in rejected.reason
    assert "has 20000" in rejected.reason
    account.refresh_from_db()
    assert account.hold_cash == 0
    assert_books_balance(account)
