"""An order that closes a position by force: its owner cannot get rid of it, an operator can."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from access.accounts import reset_account
from portfolios.accounts import deposit
from portfolios.configurations import configure
from tests.people import Trader, a_trader, an_operator
from tests.portfolios.factories import assert_books_balance, make_instrument
from tests.trading.floor import TradingFloor, now_of
from trading.models import Order

pytestmark = pytest.mark.django_db

REFUSAL = {
    "code": 40310000,
    "message": "this order closes a position that the account could not keep, "
    "and only an operator can cancel it",
}


@pytest.fixture
def trader(floor: TradingFloor, settings: Any) -> Trader:
    """Borrowed 8,000 of 18,000; then the price fell, and nobody bids."""
    settings.MARGIN_CALL_DAYS = 0
    floor.show("99.99", "100")
    trader = a_trader(cash="10000")
    account = trader.account
    configure(account_id=account.pk, changes={"max_margin_multiplier": "2"}, actor="test")
    floor.buy(account, "180", limit="100")
    floor.pass_time(seconds=1)
    for ask_size in (1, 2):
        floor.show("62", "63", bid_size=0, ask_size=ask_size)
    return trader


@pytest.fixture
def forced(trader: Trader) -> Order:
    order = Order.objects.get(is_forced=True)
    assert (order.account, order.status, order.quantity) == (trader.account, "new", Decimal(180))
    return order


def order_of_their_own(floor: TradingFloor, trader: Trader, **fields: Any) -> Order:
    make_instrument("MSFT")
    floor.play(floor.quote(symbol="MSFT"))
    deposit(account_id=trader.account.pk, amount=Decimal(10_000), actor="test")
    return floor.buy(trader.account, "1", limit="90", symbol="MSFT", **fields)


def refusal_of(order: Order) -> dict[str, Any]:
    return REFUSAL | {"order_id": str(order.public_id)}


def test_its_owner_can_neither_cancel_nor_replace_it(trader: Trader, forced: Order) -> None:
    path, program = f"/v2/orders/{forced.public_id}", trader.client()
    replaced = program.patch(path, {"qty": "1"}, content_type="application/json")
    for answer in (program.delete(path), replaced, trader.browser().delete(path)):
        assert (answer.status_code, answer.json()) == (403, refusal_of(forced))
    assert now_of(forced).status == "new"
    assert_books_balance(trader.account)


@pytest.mark.parametrize("stop", [False, True])
def test_canceling_all_leaves_it_and_says_so(
    floor: TradingFloor, trader: Trader, forced: Order, stop: bool
) -> None:
    own = order_of_their_own(floor, trader)
    program = trader.client()
    if stop:
        answer = program.post("/v2/account/stop", {}, content_type="application/json")
    else:
        answer = program.delete("/v2/orders")
    assert answer.status_code == 207
    assert answer.json() == [
        {"id": str(forced.public_id), "status": 403, "body": refusal_of(forced)},
        {"id": str(own.public_id), "status": 200},
    ]
    assert [now_of(order).status for order in (forced, own)] == ["new", "canceled"]
    assert_books_balance(trader.account)


def test_nor_can_its_owner_close_the_position_around_it(trader: Trader, forced: Order) -> None:
    answer = trader.client().delete("/v2/positions?cancel_orders=true")
    assert [entry["status"] for entry in answer.json()] == [403]
    assert now_of(forced).status == "new"


def test_an_operator_can(trader: Trader, forced: Order) -> None:
    operator = an_operator().browser()
    chosen = {"action": "cancel_orders", "_selected_action": [forced.pk]}
    answer = operator.post("/admin/trading/order/", chosen, follow=True)
    assert b"1 orders are canceled" in answer.content
    assert now_of(forced).status == "canceled"
    assert_books_balance(trader.account)


def test_a_book_that_is_closed_has_nothing_to_force(trader: Trader, forced: Order) -> None:
    fresh = reset_account(account_id=trader.account.pk, cash=Decimal(1000), actor="test")
    assert now_of(forced).status == "canceled"
    assert_books_balance(trader.account, fresh)


def test_it_is_told_by_who_placed_it_and_not_by_its_name(
    floor: TradingFloor, trader: Trader, forced: Order
) -> None:
    alike = order_of_their_own(floor, trader, client_order_id="liquidation-of-mine")
    assert trader.client().delete(f"/v2/orders/{alike.public_id}").status_code == 204
