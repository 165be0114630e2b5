"""An engine that takes over from another goes on where that one stood."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portfolios.models import Account
from quotes.models import MarketClock
from quotes.ticks import to_micros
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import CLOSE, TradingFloor, now_of
from trading.models import Fill

pytestmark = pytest.mark.django_db


def test_another_engine_goes_on_from_the_database(floor: TradingFloor, account: Account) -> None:
    resting = floor.buy(account, "10", limit="97")
    floor.pass_time(seconds=1)
    floor.restart()
    fresh = floor.buy(account, "5", limit="96")
    floor.show("95", "96", ask_size=12)
    assert now_of(resting).filled_quantity == 10
    assert now_of(fresh).filled_quantity == 2
    assert_books_balance(account)


def test_what_one_engine_took_the_next_does_not_offer_again(
    floor: TradingFloor, account: Account
) -> None:
    floor.show("99", "100", ask_size=30)
    order = floor.buy(account, "50", limit="100")
    floor.pass_time(seconds=1)
    floor.restart()
    floor.pass_time(seconds=1)
    floor.show("99", "100", ask_size=35)
    assert now_of(order).filled_quantity == 35
    assert_books_balance(account)


QUOTED_BETWEEN = {
    "the price went and came back": ([("99", "101", 30), ("99", "100", 30)], 30),
    "size went and others came": ([("99", "100", 12), ("99", "100", 30)], 18),
    "others came and went": ([("99", "100", 50), ("99", "100", 30)], 20),
    "nothing changed": ([("98", "100", 30), ("98", "100", 30)], 0),
}


@pytest.mark.parametrize("taken_over", [False, True])
@pytest.mark.parametrize("case", QUOTED_BETWEEN)
def test_what_was_quoted_between_two_engines_counts_as_if_heard(
    case: str, taken_over: bool
) -> None:
    between, free = QUOTED_BETWEEN[case]
    floor, account = TradingFloor(keeps_history=True), funded_account("100000")
    floor.show("99", "100", ask_size=30)
    floor.buy(account, "30", limit="100")
    floor.pass_time(seconds=1)
    if taken_over:
        floor.restart()
    for bid, ask, size in between:
        tick = floor.quote(bid, ask, ask_size=size)
        (floor.publish if taken_over else floor.play)(tick)
    order = floor.buy(account, "100", limit="100")
    floor.pass_time(seconds=1)
    assert now_of(order).filled_quantity == free
    assert_books_balance(account)


def test_what_the_history_does_not_have_makes_too_much_count_as_taken(
    floor: TradingFloor, account: Account
) -> None:
    floor.show("99", "100", ask_size=30)
    floor.buy(account, "30", limit="100")
    floor.pass_time(seconds=1)
    floor.restart()
    floor.publish(floor.quote("99", "101"))
    floor.publish(floor.quote("99", "100", ask_size=35))
    order = floor.buy(account, "100", limit="100")
    floor.pass_time(seconds=1)
    assert now_of(order).filled_quantity == 5


def test_the_last_fill_of_a_quote_need_not_be_the_last_that_was_settled(
    floor: TradingFloor, account: Account
) -> None:
    floor.show("99", "100", ask_size=30)
    for quantity in ("10", "15"):
        floor.buy(account, quantity, limit="100")
    floor.pass_time(seconds=1)
    first, second = Fill.objects.order_by("pk")
    Fill.objects.filter(pk=first.pk).update(id=second.pk + 1)
    floor.restart()
    order = floor.buy(account, "100", limit="100")
    floor.pass_time(seconds=1)
    assert now_of(order).filled_quantity == 5


def test_an_advance_played_without_an_engine_is_caught_up(
    floor: TradingFloor, account: Account
) -> None:
    order = floor.buy(account, "10")
    floor.restart()
    until_us = to_micros(CLOSE - timedelta(hours=1))
    MarketClock.objects.update(advance_to_us=until_us, watermark_us=until_us)
    assert floor.engine.pending is not None  # starts it
    assert now_of(order).status == "filled"
    assert MarketClock.objects.get().settled_us == until_us
