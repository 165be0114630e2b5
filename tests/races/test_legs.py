"""Brackets whose members are filled, canceled and replaced at the same moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from unittest.mock import patch

import pytest

from events.errors import OpenbellError
from portfolios.models import Account, Position
from tests.meeting import together
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.exits import bracket, end, entered, family, statuses
from tests.trading.floor import TradingFloor, change, now_of
from trading import states
from trading.execution.families import Families
from trading.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 5


@pytest.fixture
def account(floor: TradingFloor) -> Account:
    return funded_account("1000000")


def held() -> Decimal:
    return sum(Position.objects.values_list("quantity", flat=True), Decimal(0))


@contextmanager
def strangers(floor: TradingFloor, *orders: Order) -> Iterator[None]:
    """Let the floor not know that these belong together, as if it had not heard of it in time."""
    for order in orders:
        working = floor.engine.floor.book.get(order.pk)
        assert working is not None
        working.rivals = working.followers = ()
    with patch.object(Families, "link"):
        yield


def test_both_exits_in_one_settlement_close_the_position_once(
    floor: TradingFloor, account: Account
) -> None:
    """Settlement holds what the floor has promised twice to the rows."""
    _, profit, loss = entered(floor, account, stop_loss_limit=Decimal(89))
    with strangers(floor, profit, loss):
        floor.play(floor.quote("89", "91"), floor.trade("90"), floor.quote("110", "111"))
    assert (now_of(profit).status, now_of(loss).status) == ("canceled", "filled")
    assert held() == 0
    assert_books_balance(account)


def test_what_the_floor_sold_twice_is_sold_once_and_the_rest_later(
    floor: TradingFloor, account: Account
) -> None:
    """Six of ten by the take-profit: ten by the stop are too many, and four are right."""
    _, profit, loss = entered(floor, account, stop_loss_limit=Decimal(89))
    ticks = (floor.quote("110", "111", bid_size=6), floor.quote("89", "91"), floor.trade("90"))
    with strangers(floor, profit, loss):
        floor.play(*ticks)
    assert (now_of(profit).filled_quantity, now_of(loss).filled_quantity) == (6, 4)
    assert (now_of(profit).status, now_of(loss).status, held()) == ("canceled", "filled", 0)
    assert_books_balance(account)


def test_settlement_wakes_an_exit_that_the_floor_had_not_heard_of(
    floor: TradingFloor, account: Account
) -> None:
    order = bracket(floor, account, limit="98")
    floor.pass_time(seconds=1)
    higher = change(family(order)[1], limit_price="120")
    with patch.object(Families, "link"):
        floor.play(floor.quote("97", "98"))
    assert (now_of(higher).status, statuses(order)[0]) == ("new", "filled")
    assert higher.pk in floor.engine.floor.book
    floor.show("120", "121")
    assert (now_of(higher).status, held()) == ("filled", 0)
    assert_books_balance(account)


def test_an_exit_fills_while_the_other_is_canceled(floor: TradingFloor, account: Account) -> None:
    seen = Counter[str]()
    for n in range(ROUNDS):
        floor.show("99", "100")
        entry, profit, loss = entered(floor, account)
        floor.show("98", "100")
        target = (profit, loss)[n % 2]
        together(lambda: floor.show("110", "111"), lambda target=target: end(target))
        floor.show("111", "112")
        assert statuses(entry) in (
            ["filled", "filled", "canceled"],
            ["filled", "canceled", "canceled"],
        )
        seen[now_of(profit).status] += 1
        assert held() == 10 * seen["canceled"]
    assert_books_balance(account)


def test_an_entry_fills_while_it_is_canceled(floor: TradingFloor, account: Account) -> None:
    """All of it: its exits work. A part or nothing: they work for that part, or are canceled."""
    for n in range(ROUNDS):
        floor.show("99", "100")
        order = bracket(floor, account, limit="98")
        floor.pass_time(seconds=1)
        size = (4, 1_000)[n % 2]
        together(
            lambda size=size: floor.show("97", "98", ask_size=size),
            lambda order=order: end(order),
        )
        floor.pass_time(seconds=1)
        entry, profit, loss = family(order)
        if entry.filled_quantity:
            assert (profit.status, loss.status) == ("new", "new")
            assert profit.quantity == loss.quantity == entry.filled_quantity
        else:
            assert (profit.status, loss.status) == ("canceled", "canceled")
        floor.show("110", "111")
        assert held() == 0
    assert_books_balance(account)


def test_an_entry_fills_while_its_exit_is_replaced(floor: TradingFloor, account: Account) -> None:
    """Whichever exit there is when the entry fills goes to work, known to the floor or not."""
    for _ in range(ROUNDS):
        floor.show("99", "100")
        order = bracket(floor, account, limit="98")
        floor.pass_time(seconds=1)
        profit = family(order)[1]
        _, outcome = together(
            lambda: floor.show("97", "98"),
            lambda profit=profit: change(profit, limit_price="120"),
        )
        floor.pass_time(seconds=1)
        newest = outcome if isinstance(outcome, Order) else profit
        assert isinstance(outcome, Order | OpenbellError)
        assert now_of(newest).status == "new"
        floor.show("120", "121")
        assert (now_of(newest).status, held()) == ("filled", 0)
        assert not Order.objects.filter(status__in=states.OPEN).exists()
    assert_books_balance(account)
