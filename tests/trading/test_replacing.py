"""Replacing orders: one ends, one begins, in one transaction."""

from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from events.models import Event
from portfolios.models import Account, Position
from tests.portfolios.factories import assert_books_balance, funded_account, margin_account
from tests.trading.floor import CLOSE, NOON, TradingFloor, change, now_of
from trading.errors import (
    DuplicateClientOrderId,
    InsufficientBuyingPower,
    InsufficientQuantity,
    InvalidOrder,
    OrderFinished,
    OrderNotFound,
    OrderRuleBroken,
    WashTrade,
)
from trading.models import Order, OrderType, TimeInForce
from trading.orders import cancel
from trading.verification import verify_fills

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(floor: TradingFloor) -> Account:
    return funded_account("10000")


def resting(floor: TradingFloor, account: Account, quantity: str = "10", **fields: Any) -> Order:
    order = floor.buy(account, quantity, **{"limit": "90", **fields})
    floor.pass_time(seconds=1)
    assert now_of(order).status == "new"
    return order


def told(account: Account) -> list[str]:
    events = Event.objects.filter(account_id=account.pk, kind__startswith="trading.order.")
    kinds = events.order_by("account_sequence").values_list("kind", flat=True)
    return [kind.removeprefix("trading.order.") for kind in kinds]


def test_a_new_order_takes_the_place_of_the_old(floor: TradingFloor, account: Account) -> None:
    old = resting(floor, account, client_order_id="first")
    new = change(old, limit_price="91", quantity="5", client_order_id="second")

    ended, begun = now_of(old), now_of(new)
    assert (ended.status, ended.hold_cash, ended.replaced_by) == ("replaced", 0, begun)
    assert ended.replaced_at == begun.submitted_at > ended.submitted_at
    assert (begun.status, begun.replaces, begun.client_order_id) == ("accepted", ended, "second")
    assert (begun.quantity, begun.limit_price, begun.hold_cash) == (5, 91, Decimal(455))
    assert begun.expires_at == CLOSE
    account.refresh_from_db()
    assert account.hold_cash == Decimal(455)
    floor.show("89", "90.50")
    assert now_of(new).status == "filled"
    assert told(account) == ["accepted", "new", "replaced", "accepted", "new", "fill"]
    replaced = Event.objects.get(kind="trading.order.replaced").payload["order"]
    assert (replaced["id"], replaced["replaced_by"]) == (str(old.public_id), str(new.public_id))
    assert_books_balance(account)


def test_what_is_left_is_what_was_asked_less_what_is_filled(
    floor: TradingFloor, account: Account
) -> None:
    floor.show(ask_size=4)
    old = floor.buy(account, "10", limit="100")
    floor.pass_time(seconds=1)
    assert now_of(old).filled_quantity == 4

    for nothing_left in ("4", "3"):
        with pytest.raises(OrderRuleBroken, match="nothing is left to replace"):
            change(old, quantity=nothing_left)
    assert now_of(old).status == "partially_filled"
    second = change(old, quantity="12")
    assert (second.quantity, second.filled_quantity) == (8, 0)
    floor.pass_time(seconds=1)
    third = change(second, limit_price="101")
    assert third.quantity == 8
    floor.show("100", "101")
    assert now_of(third).status == "filled"
    assert Position.objects.get().quantity == 12
    assert {progress.wrong for progress in verify_fills()} == {None}
    assert_books_balance(account)


def test_it_loses_its_place_in_line(floor: TradingFloor, account: Account) -> None:
    first = resting(floor, account, "5")
    second = resting(floor, account, "5")
    third = change(first, quantity="4")
    floor.pass_time(seconds=1)
    floor.show("89", "90", ask_size=6)
    assert (now_of(second).status, now_of(third).filled_quantity) == ("filled", 1)


def test_only_what_works_is_replaced(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "10", limit="90")
    with pytest.raises(OrderRuleBroken, match='"accepted" state'):
        change(order, limit_price="91")
    floor.pass_time(seconds=1)
    cancel(account_id=account.pk, order_id=order.public_id, actor="test")
    with pytest.raises(OrderFinished, match='already in "canceled" state'):
        change(order, limit_price="91")
    with pytest.raises(OrderNotFound):
        change(Order(account=account, public_id=uuid.uuid4()), limit_price="91")
    with pytest.raises(OrderNotFound):
        change(Order(account=funded_account(), public_id=order.public_id), limit_price="91")
    assert Order.objects.count() == 1


def test_an_order_whose_time_is_up_is_not_given_another_day(
    floor: TradingFloor, account: Account
) -> None:
    order = resting(floor, account)
    Order.objects.filter(pk=order.pk).update(expires_at=NOON)
    with pytest.raises(OrderFinished, match="expired"):
        change(order, limit_price="91")


def test_an_order_by_amount_is_not_replaced(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, None, notional=Decimal(500), limit="90")
    floor.pass_time(seconds=1)
    with pytest.raises(OrderRuleBroken, match="by amount"):
        change(order, limit_price="91")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, OrderRuleBroken),
        ({"limit_price": "90", "quantity": "10"}, OrderRuleBroken),
        ({"client_order_id": "new"}, OrderRuleBroken),
        ({"quantity": "0"}, InvalidOrder),
        ({"quantity": "-1"}, InvalidOrder),
        ({"quantity": "1E+30"}, OrderRuleBroken),
        ({"limit_price": "90.001"}, OrderRuleBroken),
        ({"limit_price": "1001"}, OrderRuleBroken),
        ({"stop_price": "95"}, InvalidOrder),
        ({"trail": "1"}, InvalidOrder),
        ({"quantity": "1.5", "time_in_force": TimeInForce.GTC}, OrderRuleBroken),
        ({"limit_price": "91", "client_order_id": "mine"}, DuplicateClientOrderId),
        ({"limit_price": "91", "client_order_id": "\ud800"}, InvalidOrder),
        ({"limit_price": "91", "client_order_id": "x" * 129}, InvalidOrder),
        ({"quantity": "1000"}, InsufficientBuyingPower),
    ],
)
def test_a_refusal_changes_nothing(
    floor: TradingFloor, account: Account, changes: dict[str, Any], error: type[Exception]
) -> None:
    order = resting(floor, account, client_order_id="mine")
    before = now_of(order).__dict__
    with pytest.raises(error):
        change(order, **changes)
    assert {**now_of(order).__dict__, "_state": 0} == {**before, "_state": 0}
    assert Order.objects.count() == 1
    refused = Event.objects.get(kind="trading.order.refused").payload
    assert refused["request"]["replaces"] == str(order.public_id)
    assert_books_balance(account)


def test_the_larger_of_the_two_must_be_affordable_not_both(
    floor: TradingFloor, account: Account
) -> None:
    order = resting(floor, account, "100")  # 9,000 of 10,000
    with pytest.raises(InsufficientBuyingPower) as refused:
        change(order, quantity="112")
    assert refused.value.extras == {"buying_power": "10000", "cost_basis": "10080"}
    assert change(order, quantity="111").hold_cash == Decimal(9_990)
    assert_books_balance(account)


def test_a_sell_frees_and_holds_its_shares(floor: TradingFloor, account: Account) -> None:
    floor.buy(account, "10")
    floor.pass_time(seconds=1)
    order = floor.sell(account, "6", limit="120")
    floor.pass_time(seconds=1)
    with pytest.raises(InsufficientQuantity):
        change(order, quantity="11")
    change(order, quantity="10")
    assert Position.objects.get().hold_quantity == 10
    assert_books_balance(account)


def test_a_day_order_can_become_good_till_canceled(floor: TradingFloor, account: Account) -> None:
    new = change(resting(floor, account), time_in_force=TimeInForce.GTC)
    assert new.expires_at == new.submitted_at + timedelta(days=90)
    assert new.time_in_force == "gtc"


def test_a_stop_moves_and_then_triggers_there(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "10", type=OrderType.STOP, stop_price=Decimal(105))
    floor.pass_time(seconds=1)
    moved = change(order, stop_price="110")
    floor.pass_time(seconds=1)
    floor.show("105", "106")
    floor.prints("106")
    assert (now_of(moved).status, now_of(moved).triggered_at) == ("new", None)
    floor.show("110", "111")
    floor.prints("110")
    assert now_of(moved).filled_avg_price == 111
    assert_books_balance(account)


def test_a_trailing_stop_keeps_the_mark_it_has_reached(
    floor: TradingFloor, account: Account
) -> None:
    floor.buy(account, "10")
    floor.pass_time(seconds=1)
    order = floor.sell(account, "10", type=OrderType.TRAILING_STOP, trail_price=Decimal(5))
    floor.pass_time(seconds=1)
    floor.show("120", "121")
    floor.show("118", "119")
    moved = change(order, trail="4")
    assert (moved.hwm, moved.stop_price, moved.trail_price) == (120, 116, 4)
    floor.show("116", "117")
    assert now_of(moved).status == "filled"
    assert_books_balance(account)


def test_a_triggered_stop_limit_goes_on_as_a_limit_order(
    floor: TradingFloor, account: Account
) -> None:
    order = floor.buy(
        account, "10", limit="101", type=OrderType.STOP_LIMIT, stop_price=Decimal(105)
    )
    floor.pass_time(seconds=1)
    floor.show("105", "106")
    floor.prints("105")
    assert now_of(order).triggered_at is not None
    with pytest.raises(OrderRuleBroken, match="was triggered"):
        change(order, stop_price="104")
    moved = change(order, limit_price="106")
    floor.pass_time(seconds=1)
    filled = now_of(moved)
    assert (filled.status, filled.type, filled.filled_avg_price) == ("filled", "stop_limit", 106)
    assert_books_balance(account)


def test_on_margin_the_old_order_gives_its_hold_to_the_new_one(floor: TradingFloor) -> None:
    account = margin_account()
    old = floor.sell(account, "100", limit="150")  # worth 15,000 of 20,000
    floor.pass_time(seconds=1)

    new = change(old, limit_price="200")

    assert (new.intent, new.hold_price, new.hold_cash) == ("sell_to_open", 200, 10_000)
    floor.pass_time(seconds=1)
    with pytest.raises(InsufficientBuyingPower) as refused:
        change(new, quantity="101")
    assert refused.value.extras == {"buying_power": "20000", "cost_basis": "20200"}
    assert now_of(new).status == "new"
    assert_books_balance(account)


def test_a_new_price_that_would_meet_an_own_order_is_refused(
    floor: TradingFloor, account: Account
) -> None:
    floor.buy(account, "10")
    floor.pass_time(seconds=1)
    offer = floor.sell(account, "10", limit="110")
    bid = resting(floor, account)

    with pytest.raises(WashTrade) as refused:
        change(bid, limit_price="110")

    assert refused.value.extras["existing_order_id"] == str(offer.public_id)
    assert (now_of(bid).status, now_of(offer).status) == ("new", "new")
    assert_books_balance(account)
