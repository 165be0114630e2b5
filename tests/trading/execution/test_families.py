"""Pairs of exits and their entries on the floor: decided in the instant, before any settlement."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.trading.execution.scripts import NOON_US, SHARE, RealMarket, order, quote, trade
from trading.execution.decisions import Admission, Execution
from trading.execution.matching import FillModel, WorkingOrder


def pair(*exits: WorkingOrder) -> tuple[WorkingOrder, ...]:
    for one in exits:
        one.rivals = tuple(other for other in exits if other is not one)
    return exits


def sold(market: RealMarket) -> dict[int, int]:
    """Shares by order, as the floor has decided."""
    found: dict[int, int] = {}
    for one in market.decisions:
        if isinstance(one, Execution):
            found[one.order.pk] = found.get(one.order.pk, 0) + one.match.quantity // SHARE
    return found


def take_in(market: RealMarket, *orders: WorkingOrder) -> None:
    for one in orders:
        market.floor.take_in(Admission(one, NOON_US))


@pytest.mark.parametrize("model", list(FillModel))
def test_two_exits_that_meet_one_quote_sell_once(model: FillModel) -> None:
    market = RealMarket(model)
    take_in(market, *pair(order(1, "sell", bound=11), order(2, "sell", bound=12)))
    market.hear(quote(12, 13))
    assert sold(market) == {1: 10}
    assert len(market.floor.book) == 0


def test_an_exit_yields_what_the_other_has_sold() -> None:
    market = RealMarket(FillModel.NBBO)
    first, second = pair(order(1, "sell", bound=11), order(2, "sell", bound=12))
    take_in(market, first, second)
    market.hear(quote(11, 13, bid_size=4))
    assert (first.leaves, second.leaves) == (6 * SHARE, 6 * SHARE)
    market.hear(quote(12, 13, bid_size=100))
    assert sum(sold(market).values()) == 10


def test_what_an_exit_in_line_has_reached_is_gone_with_what_it_yields() -> None:
    market = RealMarket(FillModel.QUEUE)
    first, second = pair(order(1, "sell", bound=11), order(2, "sell", bound=12))
    first.ahead, second.ahead, second.reached = 0, 100 * SHARE, 10 * SHARE
    take_in(market, first, second)
    market.hear(quote(11, 13, bid_size=7))
    assert (second.leaves, second.reached) == (3 * SHARE, 3 * SHARE)
    market.hear(trade(13))  # through its price: all that it has reached
    assert sold(market) == {1: 7, 2: 3}


def test_a_stop_and_a_take_profit_close_the_position_once() -> None:
    market = RealMarket(FillModel.NBBO)
    market.hear(quote(10, 11))
    profit = order(1, "sell", bound=15)
    loss = order(2, "sell", bound=0, is_market=True, stop=8)
    take_in(market, *pair(profit, loss))
    market.hear(trade(8))
    market.hear(quote(15, 16))
    assert sold(market) == {2: 10}


def test_exits_go_to_work_when_their_entry_is_filled_and_not_before() -> None:
    market = RealMarket(FillModel.NBBO)
    entry = order(1, "buy", bound=10)
    entry.followers = pair(order(2, "sell", bound=12), order(3, "sell", bound=0, stop=8))
    take_in(market, entry)
    market.hear(quote(9, 10, ask_size=4))
    market.hear(quote(12, 13))
    assert sold(market) == {1: 4}
    market.hear(quote(9, 10, ask_size=20))
    market.hear(quote(12, 13))
    assert sold(market) == {1: 10, 2: 10}
    assert len(market.floor.book) == 0


def test_an_exit_that_is_woken_meets_the_quote_after_all_who_rest() -> None:
    market = RealMarket(FillModel.NBBO)
    resting = order(5, "sell", bound=12)
    entry = order(1, "buy", bound=20)
    entry.followers = pair(order(2, "sell", bound=11), order(3, "sell", bound=0, stop=8))
    take_in(market, resting, entry)
    market.hear(quote(12, 13, bid_size=15, ask_size=10))
    assert sold(market) == {1: 10, 5: 10, 2: 5}


def test_an_oco_wakes_its_stop_when_it_is_taken_in() -> None:
    market = RealMarket(FillModel.NBBO)
    profit, loss = pair(order(1, "sell", bound=15), order(2, "sell", bound=0, stop=8))
    profit.followers = (replace(loss, rivals=(profit,)),)
    take_in(market, profit)
    assert 2 in market.floor.book
