"""Brackets, OCOs and OTOs on the real floor: who wakes whom, who yields, and who ends with whom."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from events.models import Event
from portfolios.models import Account, Position
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import CLOSE, MORNING, OPENING, TradingFloor, now_of
from tests.trading.test_replacing import change
from tests.trading.test_short_sales import margin_account
from trading.closing import close_position
from trading.errors import InsufficientQuantity, InvalidOrder, OrderRuleBroken
from trading.models import Order, OrderClass, OrderType, Side, TimeInForce
from trading.orders import cancel, cancel_all
from trading.preview import preview
from trading.queries import OrderFilter, get_order, list_orders
from trading.request import OrderRequest
from trading.verification import verify_fills

pytestmark = pytest.mark.django_db

BRACKET: dict[str, Any] = {
    "order_class": OrderClass.BRACKET,
    "take_profit": Decimal(110),
    "stop_loss": Decimal(90),
}


@pytest.fixture
def floor() -> TradingFloor:
    floor = TradingFloor()
    floor.show()
    return floor


@pytest.fixture
def account(floor: TradingFloor) -> Account:
    return funded_account("100000")


def bracket(floor: TradingFloor, account: Account, quantity: str = "10", **fields: Any) -> Order:
    return floor.buy(account, quantity, **{**BRACKET, **fields})


def entered(floor: TradingFloor, account: Account, **fields: Any) -> tuple[Order, Order, Order]:
    """A bracket whose entry is filled: entry, take-profit, stop-loss."""
    order = bracket(floor, account, **fields)
    floor.pass_time(seconds=1)
    return family(order)


def hold_shares(floor: TradingFloor, account: Account, quantity: str = "10") -> None:
    floor.buy(account, quantity)
    floor.pass_time(seconds=1)


def oco(floor: TradingFloor, account: Account, quantity: str = "10", **fields: Any) -> Order:
    pair = {"limit": "110", "take_profit": Decimal(110), "stop_loss": Decimal(90)}
    return floor.sell(account, quantity, order_class=OrderClass.OCO, **{**pair, **fields})


def family(order: Order) -> tuple[Order, ...]:
    """The order and its legs, as the database has them."""
    return (now_of(order), *Order.objects.filter(parent=order).order_by("pk"))


def statuses(order: Order) -> list[str]:
    return [one.status for one in family(order)]


def told(order: Order) -> list[str]:
    events = Event.objects.filter(subject=f"order:{order.public_id}").order_by("account_sequence")
    return [event.kind.removeprefix("trading.order.") for event in events]


def held_shares() -> Decimal:
    return Position.objects.get().hold_quantity


def end(order: Order) -> None:
    cancel(account_id=order.account_id, order_id=order.public_id, actor="test")


def assert_proved(*accounts: Account) -> None:
    assert_books_balance(*accounts)
    assert {progress.wrong for progress in verify_fills()} <= {None}


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
