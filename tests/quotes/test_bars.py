from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.bars import DAY, GRACE_US, LATE_US, MINUTE, MINUTE_US, Aggregator, merged, midnight
from quotes.calendar import EXCHANGE, NEW_YORK, ROUND_THE_CLOCK
from quotes.feeds.lean import LeanFeed
from quotes.feeds.lean_bars import minute_bars
from quotes.feeds.lean_files import LeanFolder
from quotes.ticks import MICROSECONDS, Bar, Trade, to_micros

MONDAY = date(2013, 10, 7)
OPEN_US = to_micros(datetime(2013, 10, 7, 9, 30, tzinfo=NEW_YORK))
CLOSE_US = to_micros(datetime(2013, 10, 7, 16, 0, tzinfo=NEW_YORK))
FAR_US = OPEN_US + 30 * 86_400 * MICROSECONDS


def trade(at_us: int, price: int = 100, size: int = 1, sequence: int = 1, **more) -> Trade:
    return Trade("IBM", at_us, price, size, sequence, **more)


def aggregator(*trades: Trade, calendar=EXCHANGE) -> Aggregator:
    bars = Aggregator(calendar)
    for each in trades:
        bars.add(each)
    return bars


def prices(bar: Bar) -> tuple[int, int, int, int]:
    return bar.open, bar.high, bar.low, bar.close


# --- one minute ---------------------------------------------------------------------------------


def test_a_minute_has_open_high_low_close_volume_count_and_vwap():
    bars = aggregator(
        trade(OPEN_US, 100, 10),
        trade(OPEN_US + 1, 130, 10),
        trade(OPEN_US + 2, 90, 10),
        trade(OPEN_US + 3, 120, 30),
    )
    assert bars.close_until(OPEN_US + 2 * MINUTE_US) == [
        Bar("IBM", MINUTE, OPEN_US // MICROSECONDS, 100, 130, 90, 120, 60, 4, 113)
    ]


def test_a_trade_on_the_boundary_opens_the_next_minute():
    bars = aggregator(trade(OPEN_US + MINUTE_US - 1, 100), trade(OPEN_US + MINUTE_US, 200))
    assert [bar.open for bar in bars.close_until(FAR_US)] == [100, 200]


def test_volume_only_trades_set_no_price():
    bars = aggregator(
        trade(OPEN_US, 100, 5),
        trade(OPEN_US + 1, 999, 7, sets_price=False),
        trade(OPEN_US + 2, 1, 9, sets_price=False, counts_volume=False),
    )
    [bar] = bars.close_until(FAR_US)
    assert (prices(bar), bar.volume, bar.trade_count, bar.vwap) == ((100,) * 4, 12, 2, 100)


def test_a_minute_without_a_price_has_no_bar_but_counts_in_the_day():
    bars = aggregator(
        trade(OPEN_US, 100, 5), trade(OPEN_US + 2 * MINUTE_US, 100, 7, sets_price=False)
    )
    assert len(bars.close_until(FAR_US)) == 1
    assert bars.daily_bars()[0].volume == 12


# --- closing and correcting ---------------------------------------------------------------------


def test_a_bar_closes_once_and_only_after_its_grace():
    bars = aggregator(trade(OPEN_US))
    end_us = OPEN_US + MINUTE_US
    assert bars.close_until(end_us + GRACE_US - 1) == []
    assert [bar.open for bar in bars.open_minutes()] == [100]
    assert len(bars.close_until(end_us + GRACE_US)) == 1
    assert bars.close_until(FAR_US) == []
    assert bars.open_minutes() == []


def test_a_late_trade_corrects_its_bar():
    bars = aggregator(trade(OPEN_US, 100, 5))
    bars.close_until(OPEN_US + 2 * MINUTE_US)
    bars.add(trade(OPEN_US + 5, 150, 5, sequence=2))
    [corrected] = bars.corrections()
    assert (prices(corrected), corrected.volume) == ((100, 150, 100, 150), 10)
    assert bars.corrections() == []


def test_a_late_trade_makes_the_bar_of_a_minute_that_had_none():
    bars = aggregator(trade(OPEN_US))
    bars.close_until(OPEN_US + 3 * MINUTE_US)
    bars.add(trade(OPEN_US + MINUTE_US, 150))
    assert [bar.start for bar in bars.corrections()] == [OPEN_US // MICROSECONDS + 60]


def test_a_trade_that_is_too_late_counts_in_the_day_only():
    bars = aggregator(trade(OPEN_US, 100, 5))
    bars.close_until(OPEN_US + MINUTE_US + LATE_US)
    bars.add(trade(OPEN_US + 5, 150, 5, sequence=2))
    assert bars.corrections() == []
    assert bars.daily_bars()[0].volume == 10


# --- the day ------------------------------------------------------------------------------------


def test_the_day_is_the_regular_session_and_its_closing_auction():
    bars = aggregator(
        trade(OPEN_US - 1, 1, 1),
        trade(OPEN_US, 100, 10),
        trade(CLOSE_US - 1, 110, 10),
        trade(CLOSE_US + 5, 500, 1),
        trade(CLOSE_US + 6, 120, 10, conditions=("6",)),
    )
    [day] = bars.daily_bars()
    assert (day.timeframe, day.start) == (DAY, midnight(MONDAY))
    assert (prices(day), day.volume) == ((100, 120, 100, 120), 30)


def test_only_changed_days_are_told_again():
    bars = aggregator(trade(OPEN_US))
    assert len(bars.daily_bars(changed_only=True)) == 1
    assert bars.daily_bars(changed_only=True) == []
    bars.add(trade(OPEN_US + 1, 105))
    assert [bar.close for bar in bars.daily_bars(changed_only=True)] == [105]


def test_the_simulated_day_rolls_at_midnight_new_york():
    midnight_us = midnight(MONDAY) * MICROSECONDS
    bars = aggregator(trade(midnight_us - 1), trade(midnight_us), calendar=ROUND_THE_CLOCK)
    starts = [bar.start for bar in bars.daily_bars()]
    assert starts == [midnight(MONDAY - timedelta(days=1)), midnight(MONDAY)]


def test_a_feed_that_takes_over_goes_on_with_the_stored_bars():
    before = aggregator(trade(OPEN_US, 100, 4), trade(OPEN_US + 1, 140, 6))
    after = Aggregator(EXCHANGE)
    after.resume([*before.open_minutes(), *before.daily_bars()], OPEN_US + 2)
    after.add(trade(OPEN_US + 3, 90, 10))
    [minute] = after.close_until(FAR_US)
    [day] = after.daily_bars()
    assert (prices(minute), minute.volume, minute.trade_count) == ((100, 140, 90, 90), 20, 3)
    assert (prices(day), day.volume) == ((100, 140, 90, 90), 20)


def test_stored_bars_of_another_minute_and_day_are_not_resumed():
    bars = Aggregator(EXCHANGE)
    old = aggregator(trade(OPEN_US - 86_400 * 3 * MICROSECONDS))
    bars.resume([*old.open_minutes(), *old.daily_bars()], OPEN_US)
    assert bars.open_minutes() == bars.daily_bars() == []


# --- what holds for any tape --------------------------------------------------------------------

tapes = st.lists(
    st.tuples(
        st.integers(0, 20 * 60 * MICROSECONDS),
        st.integers(1, 10**8),
        st.integers(1, 10**6),
        st.booleans(),
    ),
    min_size=1,
    max_size=60,
).map(
    lambda rows: [
        trade(OPEN_US + offset, price, size, sequence, sets_price=sets_price)
        for sequence, (offset, price, size, sets_price) in enumerate(sorted(rows), start=1)
    ]
)


def all_minutes(trades: Sequence[Trade]) -> list[Bar]:
    return aggregator(*trades).close_until(FAR_US)


@given(tapes)
def test_prices_are_ordered_and_volume_is_the_sum(tape: list[Trade]):
    bars = all_minutes(tape)
    for bar in bars:
        assert bar.low <= min(bar.open, bar.close, bar.vwap)
        assert max(bar.open, bar.close, bar.vwap) <= bar.high
    priced_minutes = {each.at_us // MINUTE_US for each in tape if each.sets_price}
    assert sum(bar.volume for bar in bars) == sum(
        each.size for each in tape if each.at_us // MINUTE_US in priced_minutes
    )
    assert {bar.start // 60 for bar in bars} == priced_minutes


@given(tapes, st.randoms())
def test_bars_do_not_depend_on_the_order_of_arrival(tape: list[Trade], random):
    shuffled = list(tape)
    random.shuffle(shuffled)
    assert all_minutes(shuffled) == all_minutes(tape)
    assert aggregator(*shuffled).daily_bars() == aggregator(*tape).daily_bars()


@given(tapes, st.integers(0, 60))
def test_watermarks_on_the_way_change_nothing(tape: list[Trade], at: int):
    bars, found = Aggregator(EXCHANGE), []
    for n, each in enumerate(tape):
        bars.add(each)
        if n == at:
            found += bars.close_until(each.at_us)
    assert found + bars.close_until(FAR_US) == all_minutes(tape)


@given(tapes)
def test_merging_minutes_is_aggregating_their_trades(tape: list[Trade]):
    priced = [each for each in tape if each.sets_price]
    minutes = all_minutes(priced)
    if not minutes:
        return
    whole = merged(minutes, "20Min", 0)
    assert whole.open == priced[0].price
    assert whole.close == priced[-1].price
    assert whole.high == max(each.price for each in priced)
    assert whole.low == min(each.price for each in priced)
    assert whole.volume == sum(each.size for each in priced)
    assert whole.trade_count == len(priced)
    assert whole.low <= whole.vwap <= whole.high


@given(tapes, st.integers(1, 19))
def test_merging_in_steps_is_merging_at_once(tape: list[Trade], split: int):
    minutes = all_minutes(tape)
    first, rest = minutes[:split], minutes[split:]
    if not first or not rest:
        return
    at_once = merged(minutes, "1Hour", 0)
    in_steps = merged([merged(first, "5Min", 0), merged(rest, "5Min", 1)], "1Hour", 0)
    assert abs(at_once.vwap - in_steps.vwap) <= 2  # each step rounds once
    assert at_once._replace(vwap=0) == in_steps._replace(vwap=0)


# --- against the recorded day -------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(lean_data: Path) -> tuple[dict[tuple[str, int], Bar], list[Bar]]:
    """Minute bars by symbol and start, and the daily bars, of the recorded ticks."""
    feed = LeanFeed(lean_data, MONDAY)
    bars, minutes = Aggregator(EXCHANGE), {}
    while ticks := feed.read(feed.end_us):
        for tick in ticks:
            if isinstance(tick, Trade):
                bars.add(tick)
        for bar in bars.close_until(ticks[-1].at_us):
            minutes[bar.symbol, bar.start] = bar
    minutes |= {(bar.symbol, bar.start): bar for bar in bars.close_until(feed.end_us + MINUTE_US)}
    return minutes, bars.daily_bars()


@pytest.mark.parametrize("symbol", ["AIG", "BAC", "IBM", "SPY"])
def test_recorded_ticks_make_the_bars_that_lean_made(symbol: str, lean_data: Path, recorded):
    file = LeanFolder(lean_data).file("minute", symbol, MONDAY, "trade")
    theirs = [
        bar
        for chunk in minute_bars(file, symbol, MONDAY)
        for bar in chunk
        if OPEN_US <= bar.start * MICROSECONDS < CLOSE_US
    ]
    ours = [recorded[0].get((symbol, bar.start)) for bar in theirs]
    pairs = [(our, their) for our, their in zip(ours, theirs, strict=True) if our]
    equal_prices = sum(prices(our) == prices(their) for our, their in pairs)
    equal_volume = sum(our.volume == their.volume for our, their in pairs)
    assert len(theirs) >= 389
    assert equal_prices / len(theirs) >= 0.97
    assert equal_volume / len(theirs) >= 0.98


def test_recorded_days_close_at_the_official_price(recorded):
    closes = {bar.symbol: bar.close for bar in recorded[1]}
    assert closes == {"AIG": 487300, "BAC": 138100, "IBM": 1820100, "SPY": 1674200}
