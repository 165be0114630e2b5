"""A last price that is canceled values nothing and triggers nothing any more."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from portfolios.models import Account
from portfolios.queries import position_views
from quotes.clock import market_clock
from quotes.last_prices import LastPrices
from quotes.ticks import Amendment, Quote, Trade, to_instant, to_micros
from tests.trading.exits import bracket, family
from tests.trading.floor import TradingFloor, now_of
from trading.execution.marks import FloorMarks
from trading.models import Order, OrderType

pytestmark = pytest.mark.django_db


def canceled(
    wrong: Trade, before: Trade | None, at: datetime | None = None, last: Trade | None = None
) -> tuple[Amendment, ...]:
    """The cancellation of a print, as ingest says it where `last`, else it, is the newest."""
    prices = LastPrices(lambda symbol: before)
    prices.hear({wrong.symbol: last or wrong})
    said_us = wrong.at_us if at is None else to_micros(at)
    return tuple(prices.amend([Amendment(wrong.symbol, said_us, wrong)]))


def cancel(floor: TradingFloor, wrong: Trade, before: Trade | None) -> None:
    """Play the cancellation of a last price."""
    floor.pass_time(seconds=1)
    floor.play(until=None, amendments=canceled(wrong, before))


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


Tape = list[Quote | Trade | tuple[Amendment, ...]]


def play(floor: TradingFloor, tape: Tape, *, at_once: bool) -> None:
    """Play it as one batch or as one batch each: that must not matter."""
    if not at_once:
        for each in tape:
            floor.play(amendments=each) if type(each) is tuple else floor.play(each)
        return
    amendments = [one for each in tape if type(each) is tuple for one in each]
    ticks: list[Any] = [each for each in tape if type(each) is not tuple]
    floor.play(*ticks, amendments=tuple(amendments))


together = pytest.mark.parametrize("at_once", [True, False], ids=["at once", "apart"])


def soon(ms: int) -> datetime:
    """So long after the instant at which the market stands."""
    return market_clock().now() + timedelta(milliseconds=ms)


@pytest.fixture
def bought_below(floor: TradingFloor, account: Account) -> tuple[Trade, Trade]:
    """A bracket that the next quote of 97 to 98 fills. Its stop-loss stands at 90, and the last
    print is far below that: a good one, and that."""
    bracket(floor, account, limit="98")
    before = floor.trade("99.5")
    floor.play(floor.quote("99", "100"), before)
    far = floor.trade("80")
    floor.play(far)
    return before, far


def triggered(floor: TradingFloor) -> bool:
    [entry] = Order.objects.filter(parent=None)
    _, _, loss = family(entry)
    assert entry.filled_quantity == 10
    return loss.triggered_at is not None


@together
def test_an_exit_that_is_woken_goes_by_the_price_before(
    floor: TradingFloor, bought_below: tuple[Trade, Trade], at_once: bool
) -> None:
    before, far = bought_below
    fills = floor.quote("97", "98", at=soon(2))

    play(floor, [canceled(far, before, soon(1)), fills], at_once=at_once)

    assert not triggered(floor)


@together
def test_a_print_triggers_what_is_woken_before_it_is_canceled(
    floor: TradingFloor, bought_below: tuple[Trade, Trade], at_once: bool
) -> None:
    before, far = bought_below
    fills = floor.quote("97", "98", at=soon(2))

    play(floor, [fills, canceled(far, before, soon(3))], at_once=at_once)

    assert triggered(floor)


@together
def test_a_canceled_print_triggers_nothing_until_the_newer_one_either(
    floor: TradingFloor, bought_below: tuple[Trade, Trade], at_once: bool
) -> None:
    before, far = bought_below
    fills, newer = floor.quote("97", "98", at=soon(2)), floor.trade("97.5", at=soon(3))
    last = newer if at_once else None  # in one batch ingest knows it when it hears of the other

    play(floor, [canceled(far, before, soon(1), last), fills, newer], at_once=at_once)

    assert not triggered(floor)


@together
def test_prints_of_a_batch_trigger_what_they_reach_though_one_is_canceled_in_it(
    floor: TradingFloor, account: Account, at_once: bool
) -> None:
    floor.show("99", "100")
    stops = [
        floor.buy(account, "1", type=OrderType.STOP, stop_price=Decimal(price))
        for price in (105, 115, 125)
    ]
    floor.pass_time(seconds=1)
    good, far = floor.trade("106", at=soon(1)), floor.trade("120", at=soon(2))

    play(floor, [good, far, canceled(far, good)], at_once=at_once)

    triggers = [now_of(stop).triggered_at for stop in stops]
    assert triggers == [to_instant(good.at_us), to_instant(far.at_us), None]
    assert floor.engine.floor.standing.trade("AAPL").price == good.price
