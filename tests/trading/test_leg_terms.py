"""Exits with other terms, and how they are shown: replaced, nested, short, previewed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from portfolios.models import Account, Position
from tests.portfolios.factories import funded_account, margin_account, new_york
from tests.trading.exits import (
    BRACKET,
    assert_proved,
    bracket,
    entered,
    family,
    held_shares,
    hold_shares,
    oco,
    statuses,
)
from tests.trading.floor import MORNING, OPENING, TradingFloor, change, now_of
from trading.errors import OrderRuleBroken
from trading.models import Order, OrderType, Side, TimeInForce
from trading.preview import preview
from trading.queries import OrderFilter, get_order, list_orders
from trading.request import OrderRequest

pytestmark = pytest.mark.django_db


def test_exits_are_replaced_and_go_on_as_a_pair(floor: TradingFloor, account: Account) -> None:
    entry, profit, loss = entered(floor, account)
    higher = change(profit, limit_price="120")
    lower = change(loss, stop_price="85")
    assert (higher.hold_quantity, lower.hold_quantity, held_shares()) == (10, 0, 10)
    assert (higher.parent_id, higher.leg) == (entry.pk, "take_profit")
    floor.pass_time(seconds=1)
    floor.show("110", "111")
    assert (now_of(higher).status, now_of(lower).status) == ("new", "new")
    floor.show("120", "121", bid_size=4)
    assert now_of(lower).quantity == 6
    floor.show("84", "85")
    floor.prints("85")
    assert (now_of(higher).status, now_of(lower).status) == ("canceled", "filled")
    assert Position.objects.get().quantity == 0
    assert_proved(account)


def test_held_exits_take_other_prices(floor: TradingFloor, account: Account) -> None:
    order = bracket(floor, account, limit="98")
    floor.pass_time(seconds=1)
    _, profit, loss = family(order)
    higher = change(profit, limit_price="120")
    assert (higher.status, higher.replaces_id, now_of(profit).status) == (
        "held",
        profit.pk,
        "replaced",
    )
    floor.show("97", "98")
    assert (now_of(higher).status, now_of(loss).status) == ("new", "new")
    floor.show("110", "111")
    assert now_of(higher).status == "new"
    floor.show("120", "121")
    assert (now_of(higher).status, now_of(loss).status) == ("filled", "canceled")
    assert_proved(account)


@pytest.mark.parametrize(("asked", "first"), [("98", "take_profit"), ("99", "stop_loss")])
def test_exits_that_meet_the_market_at_once_go_as_they_were_submitted(
    floor: TradingFloor, account: Account, asked: str, first: str
) -> None:
    """A replaced exit is submitted anew, so it has lost its place before the other."""
    order = bracket(floor, account, limit="98", take_profit=Decimal(asked), stop_loss=Decimal(97))
    if asked != "98":
        change(family(order)[1], limit_price="98")
    floor.prints("97")
    floor.show("98", "98")
    assert [leg.leg for leg in family(order)[1:] if leg.status == "filled"] == [first]
    assert_proved(account)


def test_a_replaced_entry_keeps_its_exits(floor: TradingFloor, account: Account) -> None:
    order = bracket(floor, account, limit="98")
    floor.pass_time(seconds=1)
    nearer = change(order, limit_price="99")
    floor.pass_time(seconds=1)
    floor.show("98", "99")
    assert statuses(nearer) == ["filled", "new", "new"]
    floor.show("110", "111")
    assert statuses(nearer) == ["filled", "filled", "canceled"]
    assert_proved(account)


def test_a_replaced_take_profit_of_an_oco_keeps_its_stop(
    floor: TradingFloor, account: Account
) -> None:
    hold_shares(floor, account)
    order = oco(floor, account)
    floor.pass_time(seconds=1)
    higher = change(order, limit_price="120")
    assert held_shares() == 10
    floor.pass_time(seconds=1)
    assert statuses(higher) == ["new", "new"]
    floor.show("120", "121")
    assert statuses(higher) == ["filled", "canceled"]
    assert_proved(account)


@pytest.mark.parametrize(
    ("which", "changes"),
    [
        (0, {"quantity": "20"}),
        (0, {"time_in_force": TimeInForce.GTC}),
        (0, {"limit_price": "90"}),  # where the stop is
        (1, {"limit_price": "90"}),
        (2, {"stop_price": "98"}),  # where the entry is
        (2, {"stop_price": "110"}),
    ],
)
def test_of_members_only_prices_change_and_stay_in_order(
    floor: TradingFloor, account: Account, which: int, changes: dict[str, Any]
) -> None:
    order = bracket(floor, account, limit="98")
    floor.pass_time(seconds=1)
    with pytest.raises(OrderRuleBroken):
        change(family(order)[which], **changes)
    assert Order.objects.count() == 3


def test_nested_lists_show_legs_in_their_parents_only(
    floor: TradingFloor, account: Account
) -> None:
    plain = floor.buy(account, "1", limit="50")
    entry, profit, loss = entered(floor, account)
    change(loss, stop_price="85")

    flat = list_orders(account.pk, OrderFilter())
    assert {one.pk for one in flat} == {plain.pk, profit.pk, loss.pk + 1}
    nested = list_orders(account.pk, OrderFilter(nested=True))
    assert [one.pk for one in nested] == [entry.pk, plain.pk]  # for its legs are open
    assert [leg.stop_price for leg in nested[0].nested_legs or []] == [None, 85]
    assert nested[1].nested_legs is None
    assert get_order(account.pk, entry.public_id).nested_legs is None
    one = get_order(account.pk, entry.public_id, nested=True)
    assert [leg.leg for leg in one.nested_legs or []] == ["take_profit", "stop_loss"]
    everything = list_orders(account.pk, OrderFilter(nested=True, status="all"))
    assert [one.pk for one in everything] == [entry.pk, plain.pk]


def test_a_short_is_entered_and_covered_by_its_exits(floor: TradingFloor) -> None:
    account = margin_account()
    exits = {"take_profit": Decimal(90), "stop_loss": Decimal(110)}
    order = floor.sell(account, "10", **{**BRACKET, **exits})
    floor.pass_time(seconds=1)
    entry, profit, loss = family(order)
    assert (entry.intent, profit.intent, loss.intent) == (
        "sell_to_open",
        "buy_to_close",
        "buy_to_close",
    )
    assert (entry.status, profit.status, loss.status) == ("filled", "new", "new")
    assert (Position.objects.get().quantity, held_shares()) == (-10, 10)
    floor.show("89", "90", ask_size=4)
    assert now_of(loss).quantity == 6
    floor.show("109", "111")
    floor.prints("110")
    assert statuses(order) == ["filled", "canceled", "filled"]
    assert (Position.objects.get().quantity, held_shares()) == (0, 0)
    assert_proved(account)


def test_a_rejected_entry_takes_its_exits_along() -> None:
    floor = TradingFloor(at=MORNING)
    floor.print_trade("100")
    account = funded_account("1100")
    order = bracket(floor, account)
    floor.play(floor.quote("199", "200", at=OPENING))
    assert statuses(order) == ["rejected", "canceled", "canceled"]
    assert family(order)[1].reason == "its entry was rejected"
    assert_proved(account)


def test_a_bracket_can_be_previewed(floor: TradingFloor, account: Account) -> None:
    ticket = OrderRequest(
        symbol="AAPL",
        side=Side.BUY,
        type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        quantity=Decimal(10),
        **BRACKET,
    )
    assert preview(account_id=account.pk, request=ticket).refusal is None
    senseless = replace(ticket, stop_loss=Decimal(105))
    refusal = preview(account_id=account.pk, request=senseless).refusal
    assert refusal is not None
    assert refusal.extras["base_price"] == "100"
    assert not Order.objects.exists()


def test_a_replaced_leg_ends_with_its_family(floor: TradingFloor, account: Account) -> None:
    order = bracket(floor, account, limit="98", time_in_force=TimeInForce.GTC)
    floor.pass_time(seconds=1)
    floor.play(until=new_york("2013-10-08 10:00"))
    new = change(now_of(order), limit_price="97")

    assert new.submitted_at > order.submitted_at
    assert {one.expires_at for one in family(new)} == {order.expires_at}
