"""Random lives of brackets and OCOs: whatever happens, no share is sold twice and none is lost."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from events.errors import Refused
from portfolios.models import Account, Position
from tests.conftest import LONG
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.exits import bracket, oco
from tests.trading.floor import TradingFloor, change
from trading import states
from trading.execution.matching import FillModel
from trading.models import Fill, Order, OrderClass
from trading.orders import cancel
from trading.verification import verify_fills

pytestmark = pytest.mark.django_db

STEPS = 400 if LONG else 100


@pytest.mark.parametrize("model", list(FillModel))
@pytest.mark.parametrize("seed", range(20) if LONG else [1, 2])
def test_no_share_is_sold_twice(seed: int, model: FillModel) -> None:
    dice = random.Random(f"{seed} {model}")
    floor = TradingFloor(model=model)
    floor.show()
    accounts = [funded_account("1000000") for _ in range(4)]
    for _ in range(STEPS):
        market_moves(floor, dice)
        with suppress(Refused):
            something_is_done(floor, dice.choice(accounts), dice)
        if dice.random() < 0.05:
            floor.restart()
        for held in Position.objects.all():
            assert 0 <= held.hold_quantity <= held.quantity
    assert_books_balance(*accounts)
    assert {progress.wrong for progress in verify_fills()} == {None}
    assert_every_exit_had_its_share()
    ends = set(Order.objects.exclude(leg="").values_list("status", flat=True))
    assert ends >= {"filled", "canceled"}


def market_moves(floor: TradingFloor, dice: random.Random) -> None:
    """A few ticks in one batch, so that many things happen in one settlement."""
    ticks = []
    for _ in range(dice.randint(1, 4)):
        bid = dice.randint(85, 115)
        sizes = {"bid_size": dice.randint(1, 12), "ask_size": dice.randint(1, 12)}
        ticks.append(floor.quote(str(bid), str(bid + dice.randint(1, 2)), **sizes))
        ticks.append(floor.trade(str(bid), dice.randint(1, 9)))
    floor.play(*ticks)


def something_is_done(floor: TradingFloor, account: Account, dice: random.Random) -> None:
    waiting = list(Order.objects.filter(account=account, status__in=states.OPEN))
    what = dice.choice(["bracket", "bracket", "oco", "oto", "cancel", "replace", "replace"])
    quantity = str(dice.randint(1, 9))
    if what == "bracket":
        bracket(floor, account, quantity, limit=str(dice.randint(95, 108)))
    elif what == "oto":
        fields = {"order_class": OrderClass.OTO, "take_profit": None}
        bracket(floor, account, quantity, limit="104", **fields)
    elif what == "oco":
        oco(floor, account, quantity)
    elif waiting and what == "cancel":
        one = dice.choice(waiting)
        cancel(account_id=account.pk, order_id=one.public_id, actor="test")
    elif waiting:
        one = dice.choice(waiting)
        price = "limit_price" if one.limit_price else "stop_price"
        change(one, **{price: str(getattr(one, price) + dice.choice([-1, 1]))})


def assert_every_exit_had_its_share() -> None:
    """The exits of an entry have sold no more than it bought."""
    for entry in Order.objects.filter(leg="", parent=None).exclude(order_class="simple"):
        chain, bought = entry, 0
        while chain is not None:
            bought += chain.filled_quantity
            chain = chain.replaces
        exits = Order.objects.filter(parent=entry)
        sold = sum(Fill.objects.filter(order__in=exits).values_list("quantity", flat=True))
        assert sold <= bought, entry
