"""A split in a market that makes its prices itself: from then on they are of the new shares."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from portfolios.models import Account, Position
from portfolios.queries import account_summary
from quotes import corporate_actions, latest
from quotes.clock import market_clock
from quotes.corporate_actions import PricesHaveSplit, TooLate, announce_split
from quotes.feeds.simulated import SimulatedFeed
from quotes.models import CorporateAction, Instrument, MarketClock
from quotes.splits import announced
from quotes.ticks import MICROSECONDS, Quote, Trade, to_micros
from tests.portfolios.factories import assert_books_balance, funded_account, new_york
from tests.trading.floor import TradingFloor, now_of
from trading.models import Fill, TimeInForce
from trading.verification import verify_fills

EVENING = new_york("2026-03-04 23:00")
MIDNIGHT = new_york("2026-03-05 00:00")  # as the next day of a market around the clock begins
THURSDAY, FRIDAY = date(2026, 3, 5), date(2026, 3, 6)


@pytest.fixture
def floor(db) -> TradingFloor:
    floor = TradingFloor(EVENING)
    MarketClock.objects.update(source="simulated-7")
    market_clock().refresh()
    return floor


def announce(new: int = 4, old: int = 1, ex_on: date = THURSDAY) -> CorporateAction:
    return announce_split(
        symbol="AAPL", new_shares=new, old_shares=old, ex_on=ex_on, actor="operator:1"
    )


class Tape:
    """What the simulated feed has of one instrument, played to the floor."""

    def __init__(self, floor: TradingFloor) -> None:
        self.floor = floor
        self.feed = SimulatedFeed(7, to_micros(EVENING))
        self.feed.epoch = 1

    def play(self, from_us: int, seconds: int) -> None:
        """These seconds of market; what is between them and the last ones is passed over."""
        until_us = from_us + seconds * MICROSECONDS - 1
        self.feed.skip_to(from_us)
        self.feed.split(announced())
        ticks: list[Quote | Trade] = [
            tick for tick in self.feed.read(until_us, 10**6) if tick.symbol == "AAPL"
        ]
        assert any(isinstance(tick, Quote) for tick in ticks)
        self.floor.play(*ticks)

    def bid(self) -> int:
        quote = latest.get("AAPL").quote
        assert quote is not None
        return quote.bid


def summary_of(account: Account):
    return account_summary(Account.objects.get(pk=account.pk))


def test_its_prices_split_with_its_shares(floor):
    tape, account = Tape(floor), funded_account("100000")
    tape.play(to_micros(EVENING), 5)
    floor.buy(account, "10")
    tape.play(to_micros(EVENING) + 5 * MICROSECONDS, 5)
    assert Position.objects.get(account=account).quantity == 10
    resting = floor.sell(account, "10", limit="9000", time_in_force=TimeInForce.GTC)
    announce()
    tape.play(to_micros(MIDNIGHT) - 10 * MICROSECONDS, 10)
    before, bid = summary_of(account), tape.bid()

    tape.play(to_micros(MIDNIGHT), 10)

    assert bid / tape.bid() == pytest.approx(4, rel=0.01)
    assert Position.objects.get(account=account).quantity == 40
    assert now_of(resting).status == "canceled"
    assert not Instrument.objects.get().halted
    after = summary_of(account)
    assert float(after.equity) == pytest.approx(float(before.equity), rel=0.001)
    assert abs(after.day_pl) < 50  # of 100,000, in ten seconds

    floor.sell(account, "40")
    tape.play(to_micros(MIDNIGHT) + 10 * MICROSECONDS, 10)
    sold = Fill.objects.filter(side="sell")[:1].get()
    assert sold.price == pytest.approx(Decimal(bid) / 40_000, rel=Decimal("0.01"))
    assert [step.wrong for step in verify_fills()] == [None]
    assert_books_balance(account)


def test_one_that_is_called_off_leaves_the_prices_alone(floor):
    tape = Tape(floor)
    tape.play(to_micros(EVENING), 5)
    corporate_actions.cancel(action_id=announce().pk, actor="operator:1")
    tape.play(to_micros(MIDNIGHT) - 10 * MICROSECONDS, 10)
    bid = tape.bid()
    tape.play(to_micros(MIDNIGHT), 10)
    assert bid / tape.bid() == pytest.approx(1, rel=0.01)


def test_the_feed_knows_a_minute_before(floor):
    action = announce()
    floor.play(until=new_york("2026-03-04 23:59:30"))
    with pytest.raises(TooLate, match="60 seconds before"):
        announce(ex_on=THURSDAY, new=2)
    with pytest.raises(TooLate, match="60 seconds before"):
        corporate_actions.cancel(action_id=action.pk, actor="operator:1")
    announce(ex_on=FRIDAY)


def test_prices_cannot_go_back_so_the_opposite_split_is_announced(floor):
    action = announce()
    floor.play(until=MIDNIGHT)
    action.refresh_from_db()
    assert action.status == "done"
    with pytest.raises(PricesHaveSplit, match="opposite split"):
        corporate_actions.reverse(action_id=action.pk, actor="operator:1")
    announce(1, 4, ex_on=FRIDAY)


def test_all_splits_together_leave_a_price(floor):
    with pytest.raises(corporate_actions.Refused, match="together"):
        announce(200)
    announce(50)
    with pytest.raises(corporate_actions.Refused, match="between 1:100 and 100:1"):
        announce(4, ex_on=FRIDAY)
    announce(1, 1000, ex_on=FRIDAY)
