"""A last price that is canceled values nothing and triggers nothing any more."""

from __future__ import annotations

from decimal import Decimal

import pytest

from portfolios.models import Account
from portfolios.queries import position_views
from quotes.last_prices import LastPrices
from quotes.ticks import Amendment, Trade
from tests.trading.floor import TradingFloor, now_of
from trading.execution.marks import FloorMarks
from trading.models import OrderType

pytestmark = pytest.mark.django_db


def cancel(floor: TradingFloor, wrong: Trade, before: Trade | None) -> None:
    """Play the cancellation of a last price, as ingest says it."""
    prices = LastPrices(lambda symbol: before)
    prices.hear({wrong.symbol: wrong})
    told = prices.amend([Amendment(wrong.symbol, wrong.at_us, wrong)])
    floor.pass_time(seconds=1)
    floor.play(until=None, amendments=tuple(told))


@pytest.fixture
def wrong(floor: TradingFloor) -> tuple[Trade, Trade]:
    """A good print, and one that is far off."""
    before = floor.trade("99.5")
    floor.play(floor.quote("99", "100"), before)
    far = floor.trade("120")
    floor.play(far)
    return before, far


def test_a_stop_goes_by_the_price_before(
    floor: TradingFloor, account: Account, wrong: tuple[Trade, Trade]
) -> None:
    before, far = wrong
    cancel(floor, far, before)

    stop = floor.buy(account, "10", type=OrderType.STOP, stop_price=Decimal(105))
    floor.pass_time(seconds=1)

    assert (now_of(stop).status, now_of(stop).triggered_at) == ("new", None)
    floor.prints("106")
    assert now_of(stop).triggered_at is not None


@pytest.mark.parametrize(("known", "price"), [(True, "99.5"), (False, "99.3")])
def test_a_position_is_worth_the_price_before_else_the_middle_of_the_quote(
    floor: TradingFloor, account: Account, wrong: tuple[Trade, Trade], known: bool, price: str
) -> None:
    before, far = wrong
    floor.buy(account, "10")
    floor.pass_time(seconds=1)
    marks = FloorMarks(floor.engine.floor, floor.engine.listing)
    assert marks.get(floor.instrument.pk) == Decimal(120)

    floor.show("98.6", "100")
    cancel(floor, far, before if known else None)

    [position] = position_views(account)
    assert position.current_price == marks.get(floor.instrument.pk) == Decimal(price)


def test_a_word_that_a_newer_print_has_overtaken_changes_nothing(
    floor: TradingFloor, account: Account, wrong: tuple[Trade, Trade]
) -> None:
    before, far = wrong
    floor.prints("101")

    cancel(floor, far, before)

    marks = FloorMarks(floor.engine.floor, floor.engine.listing)
    assert marks.get(floor.instrument.pk) == Decimal(101)


def test_an_engine_that_takes_over_goes_by_it(
    floor: TradingFloor, account: Account, wrong: tuple[Trade, Trade]
) -> None:
    before, far = wrong
    cancel(floor, far, before)
    floor.restart()

    marks = FloorMarks(floor.engine.floor, floor.engine.listing)
    assert marks.get(floor.instrument.pk) == Decimal("99.5")
    assert not floor.engine.floor.standing.is_newer_trade(far)
