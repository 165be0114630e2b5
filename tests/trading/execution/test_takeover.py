"""An engine that takes over from another goes on where that one stood."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portfolios.models import Account
from quotes.models import MarketClock
from quotes.ticks import to_micros
from tests.portfolios.factories import assert_books_balance
from tests.trading.floor import CLOSE, TradingFloor, now_of

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
