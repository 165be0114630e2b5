"""Who has much to settle keeps nobody else waiting."""

from __future__ import annotations

import pytest

from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import TradingFloor, now_of
from trading.execution.pending import ALONE_MAX

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_hot_account_takes_its_part_of_a_turn() -> None:
    floor = TradingFloor()
    floor.show()
    hot, other = funded_account("100000"), funded_account("100000")
    many = [floor.buy(hot, "1") for _ in range(10)]
    late = floor.buy(other, "1")
    engine = floor.engine
    engine.pending._batch_max = 8
    engine.admissions.admit_accepted(set())
    assert len(engine.pending) == 22  # an admission and a fill each

    engine.pending.settle(turn=8)

    assert engine.pending.is_behind
    assert now_of(late).status == "filled"
    assert [now_of(order).status for order in many] == ["filled"] + ["accepted"] * 9
    engine.drain()
    assert not engine.pending.is_behind
    assert {now_of(order).status for order in many} == {"filled"}
    assert_books_balance(hot, other)


def test_an_account_that_is_alone_leaves_room_for_who_comes_meanwhile() -> None:
    floor = TradingFloor()
    floor.show()
    hot = funded_account("100000")
    orders = [floor.buy(hot, "1") for _ in range(ALONE_MAX // 2 + 5)]
    engine = floor.engine
    engine.pending._batch_max = 4 * ALONE_MAX
    engine.admissions.admit_accepted(set())
    waiting = len(engine.pending)

    engine.pending.settle(turn=4 * ALONE_MAX)

    assert engine.pending.is_behind
    assert len(engine.pending) == waiting - ALONE_MAX
    engine.drain()
    assert {now_of(order).status for order in orders} == {"filled"}
    assert_books_balance(hot)
