from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from math import log

import pytest

from quotes.bars import DAY, MINUTE, midnight
from quotes.calendar import NEW_YORK
from quotes.feeds.listings import LISTINGS
from quotes.feeds.simulated import CENT, SimulatedFeed
from quotes.feeds.simulated_history import simulated_history
from quotes.feeds.simulated_prices import PricePaths, activity_at
from quotes.splits import Split
from quotes.ticks import MICROSECONDS, Bar, Quote, Trade, to_micros

NOON = datetime(2026, 3, 4, 17, 0, 30, tzinfo=UTC)
NOON_US = to_micros(NOON)
MINUTE_US = 60 * MICROSECONDS


def tape(seed: int = 7, start_us: int = NOON_US, seconds: int = 60) -> list:
    feed = SimulatedFeed(seed, start_us)
    return feed.read(start_us + seconds * MICROSECONDS, limit=10**6)


def test_the_same_seed_is_the_same_tape():
    assert tape(seed=7) == tape(seed=7)


def test_another_seed_is_another_tape():
    assert tape(seed=7) != tape(seed=8)


def test_the_tape_does_not_depend_on_where_it_was_begun():
    later_us = NOON_US + 30 * MICROSECONDS
    early = [tick._replace(sequence=0) for tick in tape() if tick.at_us >= later_us]
    late = [tick._replace(sequence=0) for tick in tape(start_us=later_us, seconds=30)]
    assert late == early


def test_a_split_divides_the_prices_of_its_instrument_from_its_instant_on():
    split = Split(1, "AAPL", NOON_US + 30 * MICROSECONDS, NOON.date(), 4, 1)
    feed = SimulatedFeed(7, NOON_US)
    feed.split([split])
    plain, found = tape(), feed.read(NOON_US + 60 * MICROSECONDS, limit=10**6)

    assert [tick for tick in found if tick.at_us < split.at_us] == [
        tick for tick in plain if tick.at_us < split.at_us
    ]
    bids = [
        {
            (tick.symbol, tick.at_us): tick.bid
            for tick in ticks
            if isinstance(tick, Quote) and tick.at_us >= split.at_us
        }
        for ticks in (plain, found)
    ]
    assert bids[0].keys() == bids[1].keys()
    assert {symbol for symbol, _ in bids[0]} > {"AAPL", "MSFT"}
    for (symbol, at_us), bid in bids[0].items():
        factor = 4 if symbol == "AAPL" else 1
        assert abs(bids[1][symbol, at_us] * factor - bid) <= 5 * CENT, symbol

    again = SimulatedFeed(7, NOON_US)
    again.split([split])
    again.skip_to(split.at_us)
    rest = again.read(NOON_US + 60 * MICROSECONDS, limit=10**6)
    assert [tick._replace(sequence=0) for tick in rest] == [
        tick._replace(sequence=0) for tick in found if tick.at_us >= split.at_us
    ]


def test_catching_up_a_year_costs_one_second_of_market():
    feed = SimulatedFeed(7, NOON_US)
    later_us = NOON_US + 365 * 86_400 * MICROSECONDS
    feed.skip_to(later_us)
    ticks = feed.read(later_us + MICROSECONDS)
    assert 0 < len(ticks) < 1_000
    assert {tick.sequence for tick in ticks if tick.symbol == "AAPL"} <= set(range(1, 20))


def test_quotes_are_two_sided_in_cents_and_trades_lie_within_them():
    quote: dict[str, Quote] = {}
    for tick in tape(seconds=300):
        if isinstance(tick, Quote):
            assert 0 < tick.bid < tick.ask
            assert tick.bid % CENT == tick.ask % CENT == 0
            assert min(tick.bid_size, tick.ask_size) >= 100
            quote[tick.symbol] = tick
        else:
            assert quote[tick.symbol].bid <= tick.price <= quote[tick.symbol].ask
            assert tick.size > 0


def test_spreads_are_narrow():
    relative = defaultdict(list)
    for tick in tape(seconds=300):
        if isinstance(tick, Quote):
            relative[tick.symbol].append((tick.ask - tick.bid) / tick.ask)
    assert set(relative) == {listing.symbol for listing in LISTINGS}
    assert all(sum(values) / len(values) < 0.0015 for values in relative.values())


def test_it_is_light_enough_for_one_process():
    ticks = tape(seconds=300)
    assert 60 <= len(ticks) / 300 <= 150
    assert 0.2 < sum(isinstance(tick, Trade) for tick in ticks) / len(ticks) < 0.4


def test_activity_is_one_on_average():
    parts = [activity_at(n / 1440) for n in range(1440)]
    assert sum(parts) / len(parts) == pytest.approx(1, abs=0.02)
    assert max(parts) < 2


def daily_returns(paths: PricePaths, symbol: str, days: int = 750) -> list[float]:
    index = [listing.symbol for listing in LISTINGS].index(symbol)
    first = date(2022, 1, 1)
    levels = [paths.day_level(first + timedelta(days=n), index) for n in range(days)]
    return [after - before for before, after in pairwise(levels)]


def correlation(one: list[float], other: list[float]) -> float:
    def product(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    return product(one, other) / (product(one, one) * product(other, other)) ** 0.5


def test_instruments_move_together_and_sectors_more_so():
    paths = PricePaths(7)
    bank, other_bank, car = (daily_returns(paths, symbol) for symbol in ("BAC", "JPM", "TSLA"))
    assert 0.15 < correlation(bank, car) < correlation(bank, other_bank) < 0.7


def test_prices_stay_plausible_for_years():
    paths = PricePaths(7)
    for index, listing in enumerate(LISTINGS):
        levels = [
            paths.day_level(date(2016, 1, 1) + timedelta(days=n), index) for n in range(0, 7000, 30)
        ]
        assert max(map(abs, levels)) < log(4), listing.symbol


def test_there_is_no_market_before_its_anchor():
    with pytest.raises(ValueError, match="begins on"):
        PricePaths(7).day_level(date(2014, 12, 31), 0)


# --- its history --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history() -> dict[str, dict[str, list[Bar]]]:
    found: dict[str, dict[str, list[Bar]]] = defaultdict(lambda: defaultdict(list))
    for bars in simulated_history(7, NOON):
        for bar in bars:
            found[bar.symbol][bar.timeframe].append(bar)
    return found


def test_history_is_a_year_of_days_and_a_week_of_minutes(history):
    assert set(history) == {listing.symbol for listing in LISTINGS}
    for bars in history.values():
        assert len(bars[DAY]) == 366
        assert bars[DAY][-1].start == midnight(date(2026, 3, 4))
        starts = [bar.start for bar in bars[MINUTE]]
        assert starts == list(range(starts[0], starts[-1] + 60, 60))
        assert starts[0] == midnight(date(2026, 2, 25))
        assert starts[-1] == int(NOON.timestamp()) // 60 * 60 - 60


def test_history_has_valid_bars(history):
    for bars in history.values():
        for bar in bars[DAY] + bars[MINUTE]:
            assert 0 < bar.low <= min(bar.open, bar.close, bar.vwap)
            assert max(bar.open, bar.close, bar.vwap) <= bar.high
            assert bar.volume >= bar.trade_count > 0


def test_days_are_the_aggregate_of_their_minutes(history):
    for bars in history.values():
        for day in bars[DAY][-8:]:
            minutes = [bar for bar in bars[MINUTE] if day.start <= bar.start < day.start + 86_400]
            assert (day.open, day.close) == (minutes[0].open, minutes[-1].close)
            assert day.high == max(bar.high for bar in minutes)
            assert day.low == min(bar.low for bar in minutes)
            assert day.volume == sum(bar.volume for bar in minutes)


def test_each_bar_opens_where_the_one_before_closed(history):
    for bars in history.values():
        for timeframe in (DAY, MINUTE):
            for before, after in pairwise(bars[timeframe]):
                assert after.open == before.close


def test_the_live_market_goes_on_where_history_ends(history):
    first: dict[str, Quote] = {}
    for tick in tape(seconds=20):
        if isinstance(tick, Quote):
            first.setdefault(tick.symbol, tick)
    assert len(first) > 45
    for symbol, quote in first.items():
        middle = (quote.bid + quote.ask) / 2
        assert middle == pytest.approx(history[symbol][MINUTE][-1].close, rel=0.004)


def test_volume_of_history_is_that_of_the_tape(history):
    start_us = NOON_US // MINUTE_US * MINUTE_US
    traded = defaultdict(int)
    for tick in tape(start_us=start_us, seconds=600):
        if isinstance(tick, Trade):
            traded[tick.symbol] += tick.size
    for symbol in ("AAPL", "F", "SPY"):
        last_ten = sum(bar.volume for bar in history[symbol][MINUTE][-10:])
        assert 0.3 < traded[symbol] / last_ten < 3


def test_the_days_of_a_clock_change_have_all_their_minutes():
    until = datetime(2026, 3, 9, 12, 0, tzinfo=NEW_YORK)
    bars = next(iter(simulated_history(7, until)))
    starts = [bar.start for bar in bars if bar.timeframe == MINUTE]
    assert starts == list(range(starts[0], starts[-1] + 60, 60))


def test_a_day_opens_and_closes_with_an_auction_in_every_instrument():
    last = midnight(date(2026, 3, 5)) * MICROSECONDS
    marked = [
        tick
        for tick in tape(start_us=last - 60 * MICROSECONDS, seconds=120)
        if isinstance(tick, Trade) and tick.auction
    ]
    everyone = [listing.symbol for listing in LISTINGS]
    assert [(tick.symbol, tick.at_us) for tick in marked if tick.auction == "close"] == [
        (symbol, last - 1) for symbol in everyone
    ]
    assert [(tick.symbol, tick.at_us) for tick in marked if tick.auction == "open"] == [
        (symbol, last) for symbol in everyone
    ]
