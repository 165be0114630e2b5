from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.models import Event
from portfolios.configurations import configure
from portfolios.models import Account
from tests.portfolios.factories import assert_books_balance, funded_account, margin_account
from tests.trading.floor import TradingFloor, now_of
from trading.errors import AccountBlocked, WashTrade
from trading.kill_switch import stop_trading
from trading.models import Order, OrderClass, OrderType
from trading.orders import cancel

pytestmark = pytest.mark.django_db


@pytest.fixture
def holder(floor: TradingFloor) -> Account:
    """Holds 10 shares."""
    account = funded_account("10000")
    floor.buy(account, "10")
    floor.pass_time(seconds=1)
    return account


@pytest.mark.parametrize(
    ("waiting", "refused"), [("110", "110"), ("110", "111"), ("110", None), ("105", "105")]
)
def test_a_buy_that_would_meet_an_own_sell_is_refused(floor, holder, waiting, refused):
    order = floor.sell(holder, "5", limit=waiting)
    with pytest.raises(WashTrade, match="potential wash trade detected") as found:
        floor.buy(holder, "5", limit=refused)

    assert found.value.body() == {
        "code": 40310000,
        "message": "potential wash trade detected. use complex orders",
        "existing_order_id": str(order.public_id),
        "reject_reason": "opposite side limit order exists",
    }
    assert Order.objects.filter(account=holder).count() == 2


def test_a_sell_that_would_meet_an_own_buy_is_refused(floor, holder):
    floor.buy(holder, "5", limit="98")
    for limit in ("98", "97", None):
        with pytest.raises(WashTrade):
            floor.sell(holder, "5", limit=limit)


def test_a_stop_could_trade_with_anything(floor, holder):
    floor.sell(holder, "5", type=OrderType.STOP, stop_price=Decimal(90))
    with pytest.raises(WashTrade) as found:
        floor.buy(holder, "5", limit="80")
    assert found.value.extras["reject_reason"] == "opposite side market/stop order exists"


def test_more_can_be_bought_below_the_exits_of_a_bracket(floor):
    account = funded_account("10000")
    bracket = {"take_profit": Decimal(110), "stop_loss": Decimal(90)}
    floor.buy(account, "10", order_class=OrderClass.BRACKET, **bracket)
    floor.pass_time(seconds=1)
    assert Order.objects.filter(account=account, leg__gt="", status="new").count() == 2

    floor.buy(account, "5", limit="100")
    with pytest.raises(WashTrade):
        floor.buy(account, "5", limit="110")


def test_brackets_stand_beside_brackets(floor):
    account = funded_account("10000")
    bracket = {
        "order_class": OrderClass.BRACKET,
        "take_profit": Decimal(110),
        "stop_loss": Decimal(90),
    }
    floor.buy(account, "10", **bracket)
    floor.pass_time(seconds=1)
    floor.buy(account, "5", **bracket)  # at the market, and the first one's exits stand
    floor.buy(account, "5", limit="112", **bracket)  # a limit above the first one's take-profit
    floor.show("99", "100")

    exits = Order.objects.filter(account=account, leg__gt="")
    assert list(exits.values_list("status", flat=True)) == ["new"] * 6
    floor.show("110", "111")
    assert exits.filter(status="filled").count() == 3
    assert_books_balance(account)


def test_an_oco_is_placed_beside_an_own_buy(floor, holder):
    floor.buy(holder, "1", limit="99")
    pair = {"limit": "110", "take_profit": Decimal(110), "stop_loss": Decimal(90)}
    floor.sell(holder, "5", order_class=OrderClass.OCO, **pair)
    with pytest.raises(WashTrade):
        floor.sell(holder, "5", type=OrderType.STOP, stop_price=Decimal(90))


def test_trailing_stops_trade_with_nobody_until_they_are_triggered(floor, holder):
    trail = floor.sell(holder, "5", type=OrderType.TRAILING_STOP, trail_price=Decimal(10))
    buy = floor.buy(holder, "5", limit="98")
    floor.sell(holder, "5", type=OrderType.TRAILING_STOP, trail_price=Decimal(12))
    floor.show("80", "99", bid_size=0)
    cancel(account_id=holder.pk, order_id=buy.public_id, actor="test")
    assert now_of(trail).triggered_at is not None
    with pytest.raises(WashTrade):
        floor.buy(holder, "5", limit="98")


def test_no_bracket_opens_to_the_other_side(floor):
    account = margin_account()
    floor.sell(account, "5", limit="120")
    bracket = {"take_profit": Decimal(110), "stop_loss": Decimal(90)}
    with pytest.raises(WashTrade, match="cannot open a long buy while a short sell"):
        floor.buy(account, "5", order_class=OrderClass.BRACKET, **bracket)


def test_both_sides_may_stand_apart_and_others_are_not_asked(floor, holder):
    floor.sell(holder, "5", limit="110")
    floor.buy(holder, "5", limit="109.99")
    floor.buy(funded_account(), "5", limit="120")
    assert_books_balance(holder)


def test_what_has_ended_stands_in_nobodys_way(floor, holder):
    order = floor.sell(holder, "10")
    floor.pass_time(seconds=1)
    assert now_of(order).status == "filled"
    floor.buy(holder, "5")


def test_without_open_orders_nothing_is_looked_up(floor):
    account = funded_account()
    with CaptureQueriesContext(connection) as captured:
        floor.buy(account, "1", limit="90")
        floor.buy(account, "1", limit="90")  # the same side is no obstacle
    assert not [query for query in captured if "IN ('accepted'" in query["sql"]]


class TestKillSwitch:
    def test_it_cancels_everything_and_lets_nothing_in(self, floor, holder):
        open_orders = [floor.buy(holder, "1", limit="90"), floor.sell(holder, "1", limit="120")]

        outcomes = stop_trading(account_id=holder.pk, actor="key:1", reason="by its user")

        assert [(order.pk, error) for order, error in outcomes] == [
            (order.pk, None) for order in open_orders
        ]
        assert {now_of(order).status for order in open_orders} == {"canceled"}
        with pytest.raises(AccountBlocked):
            floor.buy(holder, "1")
        (event,) = Event.objects.filter(kind="portfolios.account.stopped")
        assert (event.actor, event.payload["reason"]) == ("key:1", "by its user")
        assert_books_balance(holder)

    def test_its_user_trades_on_by_saying_so(self, floor, holder):
        stop_trading(account_id=holder.pk, actor="key:1", reason="by its user")
        configure(account_id=holder.pk, changes={"suspend_trade": False}, actor="key:1")
        assert floor.buy(holder, "1")

    def test_what_an_operator_stopped_its_user_cannot_start(self, floor, holder):
        stop_trading(account_id=holder.pk, actor="operator:1", reason="x", by_operator=True)
        configure(account_id=holder.pk, changes={"suspend_trade": False}, actor="key:1")
        with pytest.raises(AccountBlocked, match="blocked"):
            floor.buy(holder, "1")

    def test_pulled_twice_it_does_no_harm(self, floor, holder):
        stop_trading(account_id=holder.pk, actor="key:1", reason="x")
        assert stop_trading(account_id=holder.pk, actor="key:1", reason="x") == []
