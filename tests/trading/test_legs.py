"""Brackets, OCOs and OTOs on the real floor: who wakes whom, who yields, and who ends with whom."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from portfolios.models import Account, Position
from tests.portfolios.factories import funded_account
from tests.trading.exits import (
    BRACKET,
    assert_proved,
    bracket,
    end,
    entered,
    family,
    held_shares,
    hold_shares,
    oco,
    statuses,
    told,
)
from tests.trading.floor import CLOSE, MORNING, OPENING, TradingFloor, now_of
from trading.closing import close_position
from trading.errors import InsufficientQuantity, InvalidOrder, OrderRuleBroken
from trading.models import Order, OrderClass, OrderType, TimeInForce
from trading.orders import cancel_all

pytestmark = pytest.mark.django_db


def test_a_bracket_is_stored_with_its_legs_held(floor: TradingFloor, account: Account) -> None:
    order = bracket(floor, account, limit="98")
    entry, profit, loss = family(order)
    assert (entry.status, profit.status, loss.status) == ("accepted", "held", "held")
    assert (profit.type, profit.limit_price, profit.leg) == ("limit", 110, "take_profit")
    assert (loss.type, loss.stop_price, loss.leg) == ("stop", 90, "stop_loss")
    for leg in (profit, loss):
        assert (leg.side, leg.quantity, leg.order_class) == ("sell", 10, "bracket")
        assert (leg.hold_cash, leg.hold_quantity, leg.expires_at) == (0, 0, CLOSE)
    assert entry.submitted_at < profit.submitted_at < loss.submitted_at
    assert [leg.pk for leg in order.nested_legs or []] == [profit.pk, loss.pk]
    assert_proved(account)


def test_the_filled_entry_wakes_both_exits_which_hold_the_shares_once(
    floor: TradingFloor, account: Account
) -> None:
    _, profit, loss = entered(floor, account)
    assert (profit.status, loss.status) == ("new", "new")
    assert (profit.hold_quantity, loss.hold_quantity, held_shares()) == (10, 0, 10)
    assert told(profit) == ["held", "new"]
    assert_proved(account)


def test_the_take_profit_fills_and_the_stop_is_canceled(
    floor: TradingFloor, account: Account
) -> None:
    entry, _, loss = entered(floor, account)
    floor.show("110", "111")
    assert statuses(entry) == ["filled", "filled", "canceled"]
    assert now_of(loss).reason == "its take profit was filled"
    assert (held_shares(), Position.objects.get().quantity) == (0, 0)
    floor.show("80", "81")
    floor.prints("80")
    assert now_of(loss).fill_count == 0
    assert told(loss) == ["held", "new", "canceled"]
    assert_proved(account)


def test_the_stop_fills_and_the_take_profit_is_canceled(
    floor: TradingFloor, account: Account
) -> None:
    entry, profit, loss = entered(floor, account)
    floor.show("89", "91")
    floor.prints("90")
    assert statuses(entry) == ["filled", "canceled", "filled"]
    assert now_of(loss).filled_avg_price == 89
    assert now_of(profit).reason == "its stop loss was filled"
    assert_proved(account)


def test_entry_and_exit_can_fill_in_one_advance(floor: TradingFloor, account: Account) -> None:
    """The exits work from the instant of the fill on, whenever that is settled."""
    order = bracket(floor, account, limit="98")
    floor.play(floor.quote("97", "98"), floor.quote("110", "111"), floor.quote("80", "81"))
    assert statuses(order) == ["filled", "filled", "canceled"]
    assert_proved(account)


def test_exits_share_what_is_left(floor: TradingFloor, account: Account) -> None:
    entry, profit, loss = entered(floor, account)
    floor.show("110", "111", bid_size=4)
    profit, loss = now_of(profit), now_of(loss)
    assert (profit.filled_quantity, profit.status) == (4, "partially_filled")
    assert (loss.quantity, loss.status, held_shares()) == (6, "new", 6)
    assert told(loss) == ["held", "new", "restated"]

    floor.show("89", "91", bid_size=5)
    floor.prints("90")
    profit, loss = now_of(profit), now_of(loss)
    assert (loss.filled_quantity, profit.quantity, held_shares()) == (5, 5, 1)
    floor.show("88", "91")
    assert statuses(entry) == ["filled", "canceled", "filled"]
    assert Position.objects.get().quantity == 0
    assert_proved(account)


def test_a_partly_filled_entry_keeps_its_exits_waiting(
    floor: TradingFloor, account: Account
) -> None:
    floor.show(ask_size=4)
    order = bracket(floor, account, limit="100")
    floor.pass_time(seconds=1)
    assert statuses(order) == ["partially_filled", "held", "held"]
    floor.show("99", "100")
    assert statuses(order) == ["filled", "new", "new"]
    assert_proved(account)


def test_an_entry_canceled_in_part_has_exits_for_that_part(
    floor: TradingFloor, account: Account
) -> None:
    floor.show(ask_size=4)
    order = bracket(floor, account, limit="100")
    floor.pass_time(seconds=1)
    end(order)
    entry, profit, loss = family(order)
    assert (entry.status, profit.status, loss.status) == ("canceled", "accepted", "accepted")
    assert (profit.quantity, loss.quantity, held_shares()) == (4, 4, 4)
    floor.pass_time(seconds=1)
    assert statuses(order) == ["canceled", "new", "new"]
    floor.show("110", "111")
    assert statuses(order) == ["canceled", "filled", "canceled"]
    assert Position.objects.get().quantity == 0
    assert_proved(account)


def test_an_entry_that_never_filled_takes_its_exits_along(
    floor: TradingFloor, account: Account
) -> None:
    order = bracket(floor, account, limit="98")
    floor.pass_time(seconds=1)
    end(order)
    assert statuses(order) == ["canceled"] * 3
    assert family(order)[1].reason == "its entry was canceled"
    account.refresh_from_db()
    assert account.hold_cash == 0
    assert_proved(account)


@pytest.mark.parametrize("which", [1, 2])
def test_canceling_one_exit_cancels_the_other(
    floor: TradingFloor, account: Account, which: int
) -> None:
    members = entered(floor, account)
    end(members[which])
    assert statuses(members[0]) == ["filled", "canceled", "canceled"]
    assert held_shares() == 0
    assert_proved(account)


def test_canceling_a_held_leg_cancels_the_entry(floor: TradingFloor, account: Account) -> None:
    order = bracket(floor, account, limit="98")
    end(family(order)[1])
    assert statuses(order) == ["canceled"] * 3
    assert_proved(account)


def test_cancel_all_takes_every_member_once(floor: TradingFloor, account: Account) -> None:
    other = funded_account("100000")
    entry, *_ = entered(floor, other)
    waiting = bracket(floor, account, limit="98")
    for owner, count in ((account, 3), (other, 2)):
        outcomes = cancel_all(account_id=owner.pk, actor="test")
        assert [error for _, error in outcomes] == [None] * count
    assert statuses(entry) == ["filled", "canceled", "canceled"]
    assert statuses(waiting) == ["canceled"] * 3
    assert [told(one).count("canceled") for one in family(waiting)] == [1, 1, 1]
    assert_proved(account, other)


def test_day_members_expire_together(floor: TradingFloor, account: Account) -> None:
    entry, *_ = entered(floor, account)
    waiting = bracket(floor, funded_account(), limit="98")
    floor.play(until=CLOSE)
    assert statuses(entry) == ["filled", "expired", "expired"]
    assert statuses(waiting) == ["expired"] * 3
    assert held_shares() == 0
    assert_proved(account)


def test_a_stop_limit_exit_waits_at_its_limit(floor: TradingFloor, account: Account) -> None:
    entry, profit, loss = entered(floor, account, stop_loss_limit=Decimal(89))
    assert (loss.type, loss.limit_price) == ("stop_limit", 89)
    floor.show("88", "91")
    floor.prints("90")
    assert now_of(loss).triggered_at is not None
    assert now_of(profit).status == "new"
    floor.show("110", "111")  # beyond both limits: the pair sells ten, not twenty
    assert sorted(statuses(entry)) == ["canceled", "filled", "filled"]
    assert Position.objects.get().quantity == 0
    assert_proved(account)


def test_both_exits_at_one_price_never_sell_more_than_the_position(
    floor: TradingFloor, account: Account
) -> None:
    _, profit, loss = entered(floor, account, stop_loss_limit=Decimal(89))
    floor.show("88", "91")
    floor.prints("90")
    floor.show("110", "111", bid_size=7)
    sold = now_of(profit).filled_quantity + now_of(loss).filled_quantity
    assert sold == 7
    floor.show("111", "112")
    sold = now_of(profit).filled_quantity + now_of(loss).filled_quantity
    assert (sold, Position.objects.get().quantity) == (10, 0)
    assert_proved(account)


def test_an_oto_has_one_exit_of_its_own_hold(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "10", order_class=OrderClass.OTO, stop_loss=Decimal(90))
    assert statuses(order) == ["accepted", "held"]
    floor.pass_time(seconds=1)
    assert statuses(order) == ["filled", "new"]
    assert held_shares() == 10
    floor.show("89", "91")
    floor.prints("90")
    assert statuses(order) == ["filled", "filled"]
    assert_proved(account)


def test_an_oco_reserves_its_shares_once(floor: TradingFloor, account: Account) -> None:
    hold_shares(floor, account)
    order = oco(floor, account)
    assert statuses(order) == ["accepted", "held"]
    assert held_shares() == 10
    with pytest.raises(InsufficientQuantity):
        floor.sell(account, "1", limit="120")
    floor.pass_time(seconds=1)
    assert statuses(order) == ["new", "new"]
    floor.show("89", "91")
    floor.prints("90")
    assert statuses(order) == ["canceled", "filled"]
    assert_proved(account)


def test_an_oco_whose_take_profit_fills_at_once_never_wakes_its_stop(
    floor: TradingFloor, account: Account
) -> None:
    hold_shares(floor, account)
    order = oco(floor, account, limit="99", take_profit=Decimal(99))
    floor.pass_time(seconds=1)
    assert statuses(order) == ["filled", "canceled"]
    assert_proved(account)


def test_an_oco_needs_a_position_and_an_entry_none_that_it_closes(
    floor: TradingFloor, account: Account
) -> None:
    with pytest.raises(InsufficientQuantity):
        oco(floor, account)
    hold_shares(floor, account)
    with pytest.raises(InsufficientQuantity):
        oco(floor, account, "11")
    exits = {"take_profit": Decimal(80), "stop_loss": Decimal(120)}
    with pytest.raises(OrderRuleBroken, match="enter a position"):
        floor.sell(account, "5", limit="99", **{**BRACKET, **exits})
    assert Order.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"take_profit": None}, InvalidOrder),
        ({"stop_loss": None}, InvalidOrder),
        ({"stop_loss": None, "stop_loss_limit": Decimal(90)}, InvalidOrder),
        ({"order_class": OrderClass.OTO}, InvalidOrder),
        ({"order_class": OrderClass.SIMPLE}, InvalidOrder),
        ({"take_profit": Decimal(90)}, OrderRuleBroken),
        ({"take_profit": Decimal("110.001")}, OrderRuleBroken),
        ({"stop_loss": Decimal(99), "limit": "99"}, OrderRuleBroken),
        ({"stop_loss": Decimal("99.995"), "limit": "100"}, OrderRuleBroken),
        ({"stop_loss": Decimal(100)}, OrderRuleBroken),  # the market's ask
        ({"stop_loss": Decimal(-1)}, InvalidOrder),
        ({"time_in_force": TimeInForce.IOC}, OrderRuleBroken),
        ({"time_in_force": TimeInForce.OPG}, OrderRuleBroken),
        ({"extended_hours": True, "limit": "99"}, OrderRuleBroken),
        ({"quantity": "1.5"}, OrderRuleBroken),
        ({"quantity": None, "notional": Decimal(500)}, OrderRuleBroken),
        ({"type": OrderType.STOP, "stop_price": Decimal(120)}, OrderRuleBroken),
        ({"type": OrderType.TRAILING_STOP, "trail_price": Decimal(1)}, OrderRuleBroken),
    ],
)
def test_senseless_brackets_are_refused(
    floor: TradingFloor, account: Account, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        bracket(floor, account, **{"quantity": "10", **changes})
    assert not Order.objects.exists()


def test_positions_with_working_exits_cannot_be_closed_beside_them(
    floor: TradingFloor, account: Account
) -> None:
    entered(floor, account)
    with pytest.raises(InsufficientQuantity) as refused:
        close_position(account_id=account.pk, symbol="AAPL", actor="test")
    assert refused.value.extras["held_for_orders"] == "10"


def test_shares_sold_before_the_exits_woke_are_not_sold_again(
    floor: TradingFloor, account: Account
) -> None:
    floor.show(ask_size=4)
    order = bracket(floor, account, limit="100")
    floor.pass_time(seconds=1)
    floor.sell(account, "3", limit="101")
    floor.show("101", "102")
    floor.show("99", "100")
    entry, profit, loss = family(order)
    assert (entry.status, profit.quantity, loss.quantity, held_shares()) == ("filled", 7, 7, 7)
    floor.show("110", "111")
    assert (statuses(order), Position.objects.get().quantity) == (
        ["filled", "filled", "canceled"],
        0,
    )
    assert_proved(account)


def test_an_exit_woken_for_less_is_filled_by_what_the_floor_thinks_a_part_of_it(
    floor: TradingFloor, account: Account
) -> None:
    floor.show("99", "100", ask_size=10)
    order = bracket(floor, account, "12", limit="100", stop_loss=Decimal(98))
    floor.pass_time(seconds=1)
    floor.sell(account, "2", limit="101")
    floor.show("101", "102")
    floor.prints("97")
    floor.show("96", "100", bid_size=10, ask_size=12)  # the stop sells at once, 10 of its 10

    entry, profit, loss = family(order)
    assert (entry.status, profit.status, loss.status) == ("filled", "canceled", "filled")
    assert (loss.quantity, loss.filled_quantity, held_shares()) == (10, 10, 0)
    assert told(loss)[-1] == "fill"
    assert_proved(account)


def test_a_bracket_placed_while_closed_enters_at_the_opening() -> None:
    floor = TradingFloor(at=MORNING)
    account = funded_account("100000")
    floor.print_trade("100")
    order = bracket(floor, account)
    floor.pass_time(seconds=1)
    assert statuses(order) == ["accepted", "held", "held"]
    floor.play(floor.quote(at=OPENING))
    floor.show("99", "100")
    assert statuses(order) == ["filled", "new", "new"]
    assert_proved(account)


def test_the_next_engine_knows_the_pairs(floor: TradingFloor, account: Account) -> None:
    entry, *_ = entered(floor, account)
    waiting = bracket(floor, funded_account(), limit="98")
    floor.pass_time(seconds=1)
    floor.restart()
    floor.play(floor.quote("97", "98"))
    assert statuses(waiting) == ["filled", "new", "new"]
    floor.restart()
    floor.show("110", "111", bid_size=13)
    assert statuses(entry) == ["filled", "filled", "canceled"]
    profit = family(waiting)[1]
    assert (profit.filled_quantity, family(waiting)[2].quantity) == (3, 7)
    assert_proved(account)
