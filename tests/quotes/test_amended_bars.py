"""Bars follow what becomes of their trades: corrected and canceled ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes import bars as bars_module
from quotes import latest
from quotes.bars import AMENDED_US, DAY, LATE_US, MINUTE, MINUTE_US, Aggregator
from quotes.calendar import EXCHANGE
from quotes.clock import Clock
from quotes.feeds.tape import CORRECTED_FROM
from quotes.ingest import Ingest
from quotes.ingest.batches import BARS_LEFT
from quotes.kept_trades import KeptTrades
from quotes.latest.local import LocalStore
from quotes.models import MarketClock
from quotes.streaming.bus import BARS, Bus, bus
from quotes.ticks import CORRECTED, MICROSECONDS, Amendment, Bar, Trade
from tests.quotes.hub_readers import Reader, Store, hub_on, settled
from tests.quotes.memory_feed import MINUTE as A_MINUTE
from tests.quotes.memory_feed import SECOND, START_US, MemoryFeed
from tests.quotes.memory_feed import trade as printed_trade
from tests.quotes.test_bars import CLOSE_US, FAR_US, OPEN_US, prices, trade

NEXT_US = OPEN_US + 2 * MINUTE_US


def aggregator(*trades: Trade) -> Aggregator:
    bars = Aggregator(EXCHANGE, amendable=True)
    for each in trades:
        bars.add(each)
    return bars


def canceled(was: Trade, printed: int = 0) -> Amendment:
    return Amendment(was.symbol, FAR_US, was, printed=printed)


def corrected(was: Trade, printed: int = 0, **fields: Any) -> Amendment:
    number = CORRECTED_FROM + was.sequence
    right = was._replace(sequence=number, amended=CORRECTED, **fields)
    return Amendment(was.symbol, FAR_US, was, right, printed=printed)


# --- bars made anew -------------------------------------------------------------------------------


def test_a_canceled_high_leaves_the_minute_and_the_day() -> None:
    wrong = trade(OPEN_US + 2, 999, 10, sequence=2)
    bars = aggregator(trade(OPEN_US, 100, 5), wrong, trade(OPEN_US + 3, 110, 5, sequence=3))
    assert bars.close_until(NEXT_US)[0].high == bars.daily_bars()[0].high == 999

    assert bars.amend([canceled(wrong)]) == []

    [minute], [day] = bars.corrections(), bars.daily_bars(changed_only=True)
    for bar in (minute, day):
        assert (prices(bar), bar.volume, bar.trade_count) == ((100, 110, 100, 110), 10, 2)
        assert bar.vwap == 105
    assert (minute.timeframe, day.timeframe) == (MINUTE, DAY)
    assert bars.corrections() == []


def test_a_corrected_close_keeps_the_place_of_its_print() -> None:
    last, after = trade(OPEN_US + 3, 500, 5, sequence=2), trade(OPEN_US + 3, 120, 5, sequence=3)
    bars = aggregator(trade(OPEN_US, 100, 5), last)
    bars.close_until(NEXT_US)

    bars.amend([corrected(last, price=90, size=7)])
    assert [(prices(bar), bar.volume) for bar in bars.corrections()] == [((100, 100, 90, 90), 12)]

    bars.add(after)  # printed in the same microsecond, and later
    assert [bar.close for bar in bars.corrections()] == [120]


def test_a_trade_that_is_corrected_twice_counts_once() -> None:
    was = trade(OPEN_US, 100, 5)
    bars = aggregator(was)
    bars.close_until(NEXT_US)
    first = corrected(was, price=200)
    assert first.corrected is not None

    bars.amend([first])
    bars.amend([corrected(first.corrected, printed=1, price=300)])
    [bar] = bars.corrections()
    assert (prices(bar), bar.volume, bar.trade_count) == ((300,) * 4, 5, 1)


def test_a_minute_that_is_still_open_closes_as_it_is_corrected() -> None:
    wrong = trade(OPEN_US + 2, 999, sequence=2)
    bars = aggregator(trade(OPEN_US, 100), wrong)

    bars.amend([canceled(wrong)])

    assert bars.corrections() == []
    assert [bar.high for bar in bars.open_minutes()] == [100]
    assert [bar.high for bar in bars.close_until(NEXT_US)] == [100]


def test_a_minute_that_a_correction_begins_takes_the_trades_that_follow() -> None:
    was = trade(OPEN_US, 100, 5, sets_price=False, counts_volume=False)
    bars = aggregator(was)

    bars.amend([corrected(was, sets_price=True, counts_volume=True)])
    assert bars.corrections() == []  # it is not finished
    bars.add(trade(OPEN_US + 1, 110, 5, sequence=2))

    [bar] = bars.close_until(NEXT_US)
    assert (prices(bar), bar.volume) == ((100, 110, 100, 110), 10)


def test_a_bar_without_a_price_left_is_withdrawn_and_can_come_back() -> None:
    only = trade(OPEN_US, 100, 5)
    bars = aggregator(only)
    bars.close_until(NEXT_US)

    bars.amend([canceled(only)])
    [minute], [day] = bars.corrections(), bars.daily_bars()
    assert (minute.is_withdrawn, day.is_withdrawn) == (True, True)
    assert (minute.start, prices(minute)) == (OPEN_US // MICROSECONDS, (100,) * 4)

    bars.add(trade(OPEN_US + 1, 101, 5, sequence=2))
    [minute], [day] = bars.corrections(), bars.daily_bars()
    assert (minute.is_withdrawn, day.is_withdrawn) == (False, False)
    assert prices(minute) == prices(day) == (101,) * 4


def test_a_trade_is_canceled_hours_later_where_a_late_one_changes_its_day_only() -> None:
    wrong, late = trade(OPEN_US + 1, 999, 10, 2), trade(OPEN_US + 2, 100, 7, 3)
    bars = aggregator(trade(OPEN_US, 100, 5), wrong)
    bars.close_until(OPEN_US + AMENDED_US)
    bars.add(late)
    assert bars.corrections() == []

    assert bars.amend([canceled(wrong)]) == []
    [minute], [day] = bars.corrections(), bars.daily_bars()
    assert (prices(minute), minute.volume) == ((100,) * 4, 5)
    assert (prices(day), day.volume) == ((100,) * 4, 12)

    assert bars.amend([canceled(late)]) == [canceled(late)]
    bars.close_until(OPEN_US + AMENDED_US + MINUTE_US)
    assert bars._finished == {}
    assert bars.amend([canceled(trade(OPEN_US, 100, 5))]) != []


def test_a_trade_of_the_day_before_is_canceled_in_its_own_day() -> None:
    evening, morning = CLOSE_US - MINUTE_US, CLOSE_US + 7 * 60 * MINUTE_US
    wrong = trade(evening + 1, 999, 10, 2)
    bars = aggregator(trade(evening, 100, 5), wrong)
    bars.close_until(morning)
    bars.add(trade(morning, 50, 1, 3))  # overnight, of the next trading day
    assert bars.amend([canceled(wrong)]) == []

    [day] = bars.daily_bars(changed_only=True)
    assert (prices(day), day.volume) == ((100,) * 4, 5)


def test_a_correction_that_comes_too_late_changes_no_bar() -> None:
    was = trade(OPEN_US, 100, 5)
    bars = aggregator(was)
    bars.close_until(OPEN_US + MINUTE_US + AMENDED_US)
    before = bars.daily_bars()
    late = canceled(was)

    assert bars.amend([late]) == [late]

    assert bars.corrections() == []
    assert bars.daily_bars() == before


def test_what_is_past_stays_in_a_day_that_is_made_anew() -> None:
    wrong = trade(OPEN_US + 30 * MINUTE_US, 1, 5, sequence=2)
    bars = aggregator(trade(OPEN_US, 100, 5))
    bars.close_until(OPEN_US + 29 * MINUTE_US)
    bars.add(wrong)
    bars.add(trade(OPEN_US + 1, 50, 5, sequence=3))  # too late for its minute

    bars.amend([canceled(wrong)])

    [day] = bars.daily_bars()
    assert (prices(day), day.volume) == ((100, 100, 50, 50), 10)


def test_a_day_takes_the_closing_auction_as_it_is_corrected() -> None:
    auction = trade(CLOSE_US + 6, 120, 10, sequence=2, conditions=("6",))
    bars = aggregator(trade(OPEN_US, 100, 10), auction)

    bars.amend([corrected(auction, price=121)])
    assert [prices(day) for day in bars.daily_bars()] == [(100, 121, 100, 121)]


@pytest.mark.parametrize("later_us", [0, LATE_US + 2 * MINUTE_US], ids=["open", "long over"])
def test_a_bar_that_was_taken_over_is_corrected_by_what_was_heard_since(later_us: int) -> None:
    before = aggregator(trade(OPEN_US, 100, 4), trade(OPEN_US + 1, 140, 6, sequence=2))
    after = Aggregator(EXCHANGE, amendable=True)
    after.resume([*before.open_minutes(), *before.daily_bars()], OPEN_US + 2)
    wrong = trade(OPEN_US + 3, 9, 10, sequence=1)
    after.add(wrong)
    after.close_until(OPEN_US + later_us)

    after.amend([canceled(wrong)])

    bars = [*after.close_until(NEXT_US), *after.corrections(), *after.daily_bars()]
    assert [bar.timeframe for bar in bars] == [MINUTE, DAY]
    for bar in bars:
        assert (prices(bar), bar.volume, bar.trade_count) == ((100, 140, 100, 140), 10, 2)


def test_a_late_trade_after_a_restart_adds_to_the_stored_bar() -> None:
    before = aggregator(trade(OPEN_US, 100, 4), trade(OPEN_US + 1, 140, 6, sequence=2))
    stored = [*before.close_until(NEXT_US), *before.daily_bars()]
    after = Aggregator(EXCHANGE)
    after.resume(stored, NEXT_US + 7)

    after.add(trade(OPEN_US + 2, 150, 1, sequence=1))

    assert after.close_until(NEXT_US + MINUTE_US) == []  # it was out before the restart
    [bar] = after.corrections()
    assert (prices(bar), bar.volume) == ((100, 150, 100, 140), 11)


def test_too_many_trades_let_the_oldest_minute_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars_module, "KeptTrades", lambda: KeptTrades(most=3))
    first = [trade(OPEN_US + n, 100 + n, 5, sequence=n) for n in (1, 2)]
    second = [trade(OPEN_US + MINUTE_US + n, 200 + n, 5, sequence=n) for n in (3, 4)]
    bars = aggregator(*first, *second)
    bars.close_until(NEXT_US + MINUTE_US)
    lost, heard = canceled(first[1]), canceled(second[1])

    assert bars.amend([lost, heard]) == [lost]
    late = trade(OPEN_US + 9, 300, 5, sequence=5)
    bars.add(late)
    assert bars.amend([canceled(late)]) == [canceled(late)]

    found = {bar.start - OPEN_US // MICROSECONDS: prices(bar) for bar in bars.corrections()}
    assert found == {0: (101, 300, 101, 300), 60: (203, 203, 203, 203)}
    [day] = bars.daily_bars()
    assert (prices(day), day.volume) == ((101, 300, 101, 203), 20)


def test_who_cannot_be_told_of_amendments_keeps_no_trades() -> None:
    was = trade(OPEN_US)
    bars = Aggregator(EXCHANGE)
    bars.add(was)

    assert bars._kept is None
    assert bars.amend([canceled(was)]) == [canceled(was)]


rows = st.lists(
    st.tuples(
        st.integers(0, 14 * 60 * MICROSECONDS),  # before the close and after
        st.integers(1, 10**6),
        st.integers(1, 1_000),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=25,
)
changes = st.lists(
    st.one_of(
        st.none(),
        st.tuples(st.integers(1, 10**6), st.integers(1, 1_000), st.booleans(), st.booleans()),
    ),
    max_size=25,
)


@given(rows, changes, st.randoms())
def test_amended_bars_are_those_of_the_tape_as_it_should_have_been(rows, changes, random) -> None:
    """Whatever is canceled or corrected, however often, before or after its minute is finished, and
    whatever is printed in between."""
    begin_us = CLOSE_US - 7 * MINUTE_US
    tape = {
        n: trade(
            begin_us + offset, price, size, n, sets_price=priced, counts_volume=priced or counted,
            conditions=("6",) if n % 3 else (),
        )
        for n, (offset, price, size, priced, counted) in enumerate(rows, start=1)
    }  # fmt: skip
    bars, stands = aggregator(), {}
    to_come = random.sample(sorted(tape), len(tape))
    for step, change in enumerate(changes):
        while to_come and random.random() < 0.6:
            n = to_come.pop()
            bars.add(tape[n])
            stands[n] = tape[n]
        bars.close_until(begin_us + random.randrange(14 * 60) * MICROSECONDS)
        if not stands:
            continue
        n = random.choice(sorted(stands))
        was = stands.pop(n)
        told = Amendment("IBM", 0, was, printed=n)
        if change is not None:
            price, size, priced, counted = change
            now = was._replace(
                price=price, size=size, sequence=CORRECTED_FROM + step, sets_price=priced,
                counts_volume=priced or counted,
            )  # fmt: skip
            stands[n], told = now, told._replace(corrected=now)
        assert bars.amend([told]) == []
    for n in to_come:
        bars.add(tape[n])
        stands[n] = tape[n]

    right = aggregator(*(each._replace(sequence=n) for n, each in stands.items()))
    assert kept(finished(bars)) == kept(finished(right))
    assert kept(bars.daily_bars()) == kept(right.daily_bars())


def kept(bars: Iterable[Bar]) -> list[Bar]:
    return [bar for bar in bars if not bar.is_withdrawn]


def finished(bars: Aggregator) -> list[Bar]:
    """Every minute as it stands."""
    bars.close_until(CLOSE_US + 8 * MINUTE_US)
    found = [bars._bars_of(start, bars._finished[start]) for start in sorted(bars._finished)]
    return [bar for some in found for bar in some]


# --- on their way ---------------------------------------------------------------------------------


class AmendingFeed(MemoryFeed):
    """A feed that says something of its trades when it is told to."""

    amends_trades = True

    def __init__(self, ticks: list[Trade]) -> None:
        super().__init__(ticks)
        self.told: list[Amendment] = []

    def take_amendments(self) -> list[Amendment]:
        told, self.told = self.told, []
        return told


class Floor:
    """An ingest that is moved by hand."""

    def __init__(self, ticks: list[Trade], bus: Bus) -> None:
        self.feed = AmendingFeed(ticks)
        self.row = MarketClock(
            mode=MarketClock.Mode.STEPPED, source=self.feed.source, opened_us=START_US,
            watermark_us=START_US, reserved_us=START_US, updated_at=datetime.now(UTC),
        )  # fmt: skip
        clock = Clock()
        clock.follow(self.row)
        self.ingest = Ingest(self.feed, self.row, clock, bus, epoch=1)

    async def advance(self, to_us: int) -> None:
        self.row.advance_to_us = self.row.reserved_us = to_us
        self.ingest.obey(self.row)
        while self.ingest.watermark_us < to_us:
            await self.ingest.run_once()


@pytest.fixture
def _in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest, "_store", LocalStore())


@pytest.mark.usefixtures("_in_memory")
async def test_who_takes_updated_bars_hears_of_a_canceled_trade() -> None:
    prints = [printed_trade(1), printed_trade(2, price=9_000_000)]
    async with hub_on(Store()) as hub:
        reader = Reader(hub).want(bars=["AAPL"], updatedBars=["AAPL"], dailyBars=["AAPL"])
        floor = Floor(prints, bus())
        await floor.advance(START_US + A_MINUTE + SECOND)
        await reader.has(1)

        wrong = prints[1]._replace(sequence=2, epoch=1)
        floor.feed.told = [canceled(wrong)]
        await floor.advance(START_US + A_MINUTE + 2 * SECOND)
        await reader.has(2)
        await settled()

    assert [(bar["T"], bar["h"], bar["v"], bar["n"]) for bar in reader.heard] == [
        ("b", 900.0, 200, 2),
        ("u", 100.0, 100, 1),
    ]
    assert reader.heard[0]["t"] == reader.heard[1]["t"]


@pytest.mark.usefixtures("_in_memory")
async def test_what_comes_too_late_is_counted_and_changes_nothing() -> None:
    floor = Floor([printed_trade(1)], Bus())
    await floor.advance(START_US + AMENDED_US + 2 * A_MINUTE)
    told = floor.ingest.take_heard().bars
    before = BARS_LEFT._value.get()

    floor.feed.told = [canceled(printed_trade(1)._replace(sequence=1, epoch=1))]
    await floor.advance(START_US + AMENDED_US + 3 * A_MINUTE)

    assert told
    assert BARS_LEFT._value.get() == before + 1
    assert not floor.ingest.take_heard().bars


@pytest.mark.usefixtures("_in_memory")
async def test_a_bar_that_was_withdrawn_before_it_closed_is_told_to_nobody() -> None:
    carrier = Bus()
    news = carrier.subscribe([BARS], limit=10)
    floor = Floor([printed_trade(1)], carrier)
    await floor.advance(START_US + 5 * SECOND)
    floor.feed.told = [canceled(printed_trade(1)._replace(sequence=1, epoch=1))]
    await floor.advance(START_US + 6 * SECOND)
    heard = floor.ingest.take_heard().bars

    await floor.advance(START_US + A_MINUTE + SECOND)
    floor.feed.told = []

    assert [bar.is_withdrawn for bar in heard.values()] == [True]
    assert await told_bars(news) == []


async def told_bars(news: Any) -> list[Bar]:
    try:
        arrived = await asyncio.wait_for(news.get_many(0.05), 1.0)
    except TimeoutError:
        return []
    return [bar for _, bars in arrived for bar in bars if bar.timeframe == MINUTE]
