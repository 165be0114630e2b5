"""From a feed to everybody who listens: order, watermark, pace, bars and back-pressure."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.leases import RENEW_SECONDS
from quotes import latest
from quotes.clock import Clock
from quotes.ingest import Ingest
from quotes.ingest.batches import BATCH_TICKS, ROOM_SECONDS
from quotes.latest.local import LocalStore
from quotes.models import MarketClock
from quotes.streaming.bus import BARS, Bus, NoRoom, Subscription, WhenFull
from quotes.ticks import Bar, Batch, Quote, Trade
from tests.quotes.memory_feed import MINUTE, SECOND, START_US, MemoryFeed, quote, trade

EPOCH = 7
TICKS = "ticks:0"


@pytest.fixture(autouse=True)
def _memory_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about the loop; the stores have tests of their own."""
    monkeypatch.setattr(latest, "_store", LocalStore())


class Floor:
    """One ingest with everybody who listens to it."""

    def __init__(self, ticks: list[Any], *, end_us: int | None = None, **row: Any) -> None:
        fields = {
            "mode": MarketClock.Mode.STEPPED,
            "source": MemoryFeed.source,
            "opened_us": START_US,
            "watermark_us": START_US,
            "reserved_us": START_US,
            "advance_to_us": START_US,
            "updated_at": datetime.now(UTC),
        }
        self.row = MarketClock(**(fields | row))
        self.bus = Bus()
        self.clock = Clock()
        self.clock.follow(self.row)
        self.ingest = Ingest(MemoryFeed(ticks, end_us), self.row, self.clock, self.bus, epoch=EPOCH)
        self.batches: list[Batch] = []
        self.bars: list[Bar] = []

    def listen(self, limit: int = 10_000) -> Subscription:
        self.reader = self.bus.subscribe([TICKS, BARS], limit=limit, when_full=WhenFull.BLOCK)
        return self.reader

    async def hear(self) -> None:
        for topic, message in await self.reader.get_many(0.0):
            if topic == TICKS:
                self.batches.append(message)
            else:
                self.bars += message

    async def step(self, to_us: int) -> None:
        """Play a stepped market up to an instant."""
        self.row.advance_to_us = self.row.reserved_us = to_us
        self.ingest.obey(self.row)
        while self.ingest.watermark_us < to_us:
            await self.ingest.run_once()
            await self.hear()

    async def play(self, until_us: int, seconds_max: float = 30.0) -> None:
        """Let a paced market run, its database always in time to reserve."""
        async with asyncio.timeout(seconds_max):
            while self.ingest.watermark_us < until_us:
                self.row.reserved_us = self.ingest.watermark_us + self.ingest.ahead_us
                self.row.reserved_us = max(self.row.reserved_us, self.row.advance_to_us)
                self.ingest.obey(self.row)
                await asyncio.sleep(await self.ingest.run_once())
                await self.hear()

    @property
    def ticks(self) -> list[Quote | Trade]:
        return [tick for batch in self.batches for tick in batch.ticks]


async def test_ticks_arrive_in_order_stamped_and_numbered() -> None:
    floor = Floor([trade(2), quote(1), quote(1.5, symbol="MSFT"), quote(3, 1_000_100)])
    floor.listen()

    await floor.step(START_US + 10 * SECOND)

    assert [(tick.symbol, type(tick), tick.at_us - START_US) for tick in floor.ticks] == [
        ("AAPL", Quote, 1 * SECOND),
        ("MSFT", Quote, 1.5 * SECOND),
        ("AAPL", Trade, 2 * SECOND),
        ("AAPL", Quote, 3 * SECOND),
    ]
    assert {tick.epoch for tick in floor.ticks} == {EPOCH}
    assert [tick.sequence for tick in floor.ticks] == [1, 1, 1, 2]
    now_us = datetime.now(UTC).timestamp() * 1e6
    assert all(now_us - 60e6 < tick.received_us <= now_us for tick in floor.ticks)
    assert floor.ticks[0] == quote(1)._replace(
        sequence=1, epoch=EPOCH, received_us=floor.ticks[0].received_us
    )


async def test_stepped_market_stands_until_it_is_told_and_stops_at_the_barrier() -> None:
    floor = Floor([quote(1), quote(5), quote(5.000001)])
    floor.listen()
    await floor.ingest.run_once()
    await floor.hear()
    assert floor.ticks == []

    await floor.step(START_US + 5 * SECOND)

    assert [tick.at_us for tick in floor.ticks] == [START_US + SECOND, START_US + 5 * SECOND]
    assert floor.batches[-1].watermark_us == START_US + 5 * SECOND
    assert floor.clock.now_us() == START_US + 5 * SECOND
    assert floor.ingest.at_barrier


async def test_step_without_ticks_is_published_all_the_same() -> None:
    floor = Floor([quote(100)])
    floor.listen()
    await floor.step(START_US + SECOND)
    await floor.step(START_US + 2 * SECOND)
    watermarks = [batch.watermark_us for batch in floor.batches]
    assert watermarks[-2:] == [START_US + SECOND, START_US + 2 * SECOND]


async def test_market_passes_the_end_of_the_recording_step_by_step() -> None:
    floor = Floor([quote(1)], end_us=START_US + 10 * SECOND)
    floor.listen()
    await floor.step(START_US + 3600 * SECOND)
    assert floor.batches[-1].watermark_us == START_US + 3600 * SECOND


async def test_batches_are_bounded_but_never_cut_an_instant() -> None:
    together = [quote(1, symbol=f"S{n:04}") for n in range(BATCH_TICKS + 50)]
    floor = Floor([*together, *(quote(2 + n / 1000) for n in range(3 * BATCH_TICKS))])
    floor.listen()

    await floor.step(START_US + 60 * SECOND)

    sizes = [len(batch.ticks) for batch in floor.batches]
    assert sizes[:3] == [BATCH_TICKS + 50, BATCH_TICKS, BATCH_TICKS]
    assert [batch.number for batch in floor.batches] == list(range(1, len(sizes) + 1))


@given(
    instants=st.lists(st.integers(0, 20), min_size=1, max_size=60),
    steps=st.sets(st.integers(1, 25), max_size=5),
)
def test_how_time_is_cut_changes_nothing(instants: list[int], steps: set[int]) -> None:
    made = [
        (quote if n % 3 else trade)(at, 1_000_000 + n, symbol="AM"[n % 2])
        for n, at in enumerate(instants)
    ]

    async def played(cuts: list[int]) -> Floor:
        floor = Floor(made)
        floor.listen()
        for cut in cuts:
            await floor.step(START_US + cut * SECOND)
        return floor

    whole = asyncio.run(played([30]))
    cut = asyncio.run(played([*sorted(steps), 30]))

    assert unstamped(cut.ticks) == unstamped(whole.ticks)
    for floor in (whole, cut):
        reached = 0
        for batch in floor.batches:
            assert all(reached < tick.at_us <= batch.watermark_us for tick in batch.ticks)
            reached = batch.watermark_us


def unstamped(ticks: list[Quote | Trade]) -> list[Quote | Trade]:
    return [tick._replace(received_us=0) for tick in ticks]


async def test_latest_quotes_are_there_before_the_batch() -> None:
    floor = Floor([quote(1), quote(2, 1_000_500), trade(2, 1_000_400)])
    floor.listen()
    await floor.step(START_US + 3 * SECOND)
    known = latest.store().get_many(["AAPL"])["AAPL"]
    assert known.quote == floor.ticks[1]
    assert known.trade == floor.ticks[2]


async def test_minute_bars_are_published_when_they_close_and_days_as_they_change() -> None:
    regular = 30 * 60  # seconds from nine to the opening
    floor = Floor([trade(regular + 1, 100), trade(regular + 59, 140), trade(regular + 61, 90)])
    floor.listen()

    await floor.step(START_US + (regular + 60) * SECOND)
    assert [bar.timeframe for bar in floor.bars] == ["1Day"], "the minute has its grace"
    await floor.step(START_US + (regular + 62) * SECOND)

    minute = floor.bars[-1]
    assert (minute.timeframe, minute.open, minute.close, minute.volume) == ("1Min", 100, 140, 200)
    await floor.step(START_US + (regular + 120) * SECOND)
    day = floor.bars[-1]
    assert (day.timeframe, day.open, day.low, day.close, day.volume) == ("1Day", 100, 90, 90, 300)


async def test_what_was_heard_is_given_away_once() -> None:
    floor = Floor([quote(1), trade(2), trade(3, symbol="MSFT")])
    floor.listen()
    await floor.step(START_US + 5 * SECOND)

    heard, nothing = floor.ingest.take_heard(), floor.ingest.heard

    assert set(heard.quotes) == {"AAPL"}
    assert set(heard.trades) == {"AAPL", "MSFT"}
    assert {bar.symbol for bar in heard.bars.values()} == {"AAPL", "MSFT"}
    assert (nothing.bars, nothing.quotes, nothing.trades) == ({}, {}, {})


async def test_what_could_not_be_written_does_not_hide_what_is_newer() -> None:
    floor = Floor([quote(1), trade(1), quote(6, 1_000_700)])
    floor.listen()
    await floor.step(START_US + 5 * SECOND)
    unwritten = floor.ingest.take_heard()
    await floor.step(START_US + 7 * SECOND)

    floor.ingest.heard.put_back(unwritten)

    heard = floor.ingest.take_heard()
    assert heard.quotes["AAPL"].bid == 1_000_700
    assert heard.trades["AAPL"].price == 1_000_000


# --- pace ----------------------------------------------------------------------------------------


async def test_replay_plays_at_its_speed() -> None:
    began = time.monotonic()
    floor = Floor([quote(n) for n in range(1, 100)], mode="replay", speed=100.0)
    floor.listen()

    await floor.play(START_US + 40 * SECOND, seconds_max=30.0)  # at speed 1 it would take longer

    assert time.monotonic() - began > 0.39
    assert len(floor.ticks) >= 40


async def test_replay_never_passes_what_is_reserved() -> None:
    floor = Floor([quote(n) for n in range(1, 100)], mode="replay", speed=1000.0)
    floor.listen()
    floor.row.reserved_us = START_US + 10 * SECOND
    floor.ingest.obey(floor.row)
    for _ in range(20):
        await asyncio.sleep(min(await floor.ingest.run_once(), 0.05))
        await floor.hear()
    assert len(floor.ticks) == 10
    assert floor.clock.now_us() <= START_US + 10 * SECOND


async def test_paused_replay_stands_and_says_that_it_is_there() -> None:
    floor = Floor([quote(1)], mode="replay", speed=1000.0, paused=True)
    floor.listen()
    for _ in range(3):
        await asyncio.sleep(await floor.ingest.run_once())
        await floor.hear()
    assert floor.ticks == []
    assert len(floor.batches) >= 2
    assert floor.ingest.watermark_us == START_US
    assert not floor.clock.feed_is_silent()


async def test_jump_plays_everything_on_the_way_and_goes_on_from_there() -> None:
    floor = Floor([quote(n) for n in range(1, 3600)], mode="replay", speed=10.0)
    floor.listen()
    floor.row.advance_to_us = START_US + 3000 * SECOND

    await floor.play(START_US + 3000 * SECOND)
    assert len(floor.ticks) == 3000
    began = time.monotonic()
    await floor.play(START_US + 3010 * SECOND)

    assert time.monotonic() - began > 0.3


async def test_recording_that_is_over_stands_at_its_end() -> None:
    floor = Floor([quote(1)], end_us=START_US + 5 * SECOND, mode="replay", speed=1000.0)
    floor.listen()
    await floor.play(START_US + 5 * SECOND)
    floor.row.reserved_us += MINUTE
    for _ in range(3):
        await asyncio.sleep(await floor.ingest.run_once())
        await floor.hear()
    assert floor.batches[-1].watermark_us == START_US + 5 * SECOND


async def test_simulated_market_runs_on_the_wall() -> None:
    now = datetime.now(UTC).timestamp() - START_US / 1e6
    floor = Floor([quote(now - 1), quote(now + 0.1), quote(now + 60)], mode="simulated")
    floor.listen()
    await floor.play(START_US + int((now + 0.1) * SECOND))
    assert len(floor.ticks) == 2


# --- who listens ---------------------------------------------------------------------------------


async def test_replay_waits_for_a_slow_reader_and_loses_nothing() -> None:
    floor = Floor([quote(n / 100) for n in range(5 * BATCH_TICKS)])
    reader = floor.listen(limit=2)
    floor.row.advance_to_us = floor.row.reserved_us = START_US + 100 * SECOND
    floor.ingest.obey(floor.row)

    for _ in range(2):
        await floor.ingest.run_once()
    with pytest.raises(NoRoom):
        await floor.ingest.run_once()
    await floor.hear()
    while floor.ingest.watermark_us < floor.row.advance_to_us:
        await floor.ingest.run_once()
        await floor.hear()

    assert len(floor.ticks) == 5 * BATCH_TICKS
    assert [batch.number for batch in floor.batches] == list(range(1, len(floor.batches) + 1))
    assert not reader.missed


async def test_waiting_for_a_reader_lets_the_loop_have_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    floor = Floor([quote(n / 100) for n in range(5 * BATCH_TICKS)])
    floor.listen(limit=1)
    floor.row.advance_to_us = floor.row.reserved_us = START_US + 100 * SECOND
    floor.ingest.obey(floor.row)
    await floor.ingest.run_once()
    waits, room = [], floor.bus.room

    async def note(topics: Any, timeout_seconds: float) -> None:
        waits.append(timeout_seconds)
        await room(topics, timeout_seconds)

    monkeypatch.setattr(floor.bus, "room", note)
    with pytest.raises(NoRoom):
        await floor.ingest.run_once()
    assert waits == [ROOM_SECONDS]
    assert ROOM_SECONDS < RENEW_SECONDS


async def test_live_market_waits_for_nobody() -> None:
    now = datetime.now(UTC).timestamp() - START_US / 1e6
    late = [quote(now - 60 + n / 1000) for n in range(4 * BATCH_TICKS)]
    floor = Floor(late, mode="live")
    reader = floor.listen(limit=2)

    for _ in range(5):
        await floor.ingest.run_once()

    assert reader.missed
    await floor.hear()
    assert [batch.number for batch in floor.batches] == [1, 2], "so that the reader sees the gap"
