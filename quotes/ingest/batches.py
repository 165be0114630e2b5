"""One turn of ingest: the ticks that market time has come to, as one batch.

The pace, the wall clock or an operator's step say how far market time may go; the ticks up to there
are read, put into the latest quotes and into bars, and published. No tick costs an await or a
query. In a replay and in a stepped market nothing is dropped: a turn waits until every reader of
ticks has room. A live market waits for nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from prometheus_client import Counter, Gauge, Histogram

from quotes import latest
from quotes.bars import MINUTE_US, Aggregator
from quotes.clock import WALL_MODES, Clock
from quotes.feeds.base import Feed, Tick
from quotes.ingest.recorder import Heard
from quotes.last_prices import LastPrices
from quotes.latest import Latest
from quotes.models import MarketClock
from quotes.pacing import Pace
from quotes.splits import Split, announced
from quotes.streaming.bus import BARS, TICK_TOPICS, Bus, tick_topic
from quotes.tick_history.backlog import Backlog
from quotes.ticks import MICROSECONDS, Amendment, Bar, Batch, Place, Quote, Trade, to_instant

BATCH_TICKS = 500  # some 5 ms of work, so that readers start while the next ones are read
TURN_SECONDS = 0.005  # ticks that come closer together share a batch
HEARTBEAT_SECONDS = 0.25  # a quiet feed says that it is there, and how late it is, this often
ROOM_SECONDS = 0.25  # then the loop gets a turn: its lease has to be renewed
RESERVE_SECONDS = 1.0  # of wall time: for so long the market goes on when the database stalls

TICKS = Counter("openbell_feed_ticks_total", "Ticks ingested.", ["kind"])
BATCH_SIZE = Histogram(
    "openbell_feed_batch_ticks", "Ticks in a batch.", buckets=(0, 1, 5, 20, 50, 100, 200, 500, 1000)
)
LAG = Gauge(
    "openbell_feed_lag_seconds",
    "Wall seconds that the watermark is behind its schedule.",
    multiprocess_mode="livemax",
)
BEHIND = Gauge(
    "openbell_feed_behind_market_seconds",
    "Market seconds that the watermark is behind its schedule.",
    multiprocess_mode="livemax",
)
SLIPPED = Counter(
    "openbell_feed_slipped_seconds_total", "Wall seconds by which the schedule was put off."
)

BARS_LEFT = Counter(
    "openbell_feed_late_amendments_total",
    "Corrections and cancellations that came too late to change the bars of their trade.",
)

Item = TypeVar("Item", Tick, Amendment)
log = logging.getLogger(__name__)

_RECEIVED = {kind: kind._fields.index("received_us") for kind in (Quote, Trade)}


class Ingest:
    """Plays one feed into one market, from where the clock's row stands.

    `watermark_us` is the instant up to which all ticks are published, `heard` what the database
    has not been told yet. Where there is a `history`, every tick is left there.
    """

    def __init__(
        self,
        feed: Feed,
        row: MarketClock,
        clock: Clock,
        bus: Bus,
        *,
        epoch: int,
        history: Backlog | None = None,
    ) -> None:
        feed.epoch = epoch
        self.heard = Heard()
        self.watermark_us = row.watermark_us
        self.bars = Aggregator(clock.calendar, amendable=feed.amends_trades)
        self._feed = feed
        self._clock = clock
        self._bus = bus
        self._epoch = epoch
        self.history = history
        self._row = row
        self._pace = Pace(time.monotonic(), row.watermark_us, row.speed, row.paused)
        self._number = 0  # of the last batch
        self._prices = LastPrices(self.bars.newest_price)
        self._published_at = float("-inf")
        self._daily_news: dict[tuple[str, str, int], Bar] = {}  # changed, not published yet

    async def run_once(self) -> float:
        """Publish the ticks that are due; returns the seconds until the next may be.

        NoRoom when a reader kept it waiting too long: nothing has been read then.
        """
        if self._row.mode not in WALL_MODES:
            await self._bus.room((*TICK_TOPICS, BARS), ROOM_SECONDS)
            if self.history is not None:
                await self.history.room(ROOM_SECONDS)
        wall = time.monotonic()
        target_us = self._target_us(wall)
        ticks = self._read(target_us)
        has_more = len(ticks) >= BATCH_TICKS
        watermark_us = self._reached(target_us)
        if ticks or self._is_news(wall, watermark_us):
            ticks, amendments = await self._take(ticks, self._feed.take_amendments())
            self._publish(ticks, watermark_us, amendments)
            self._published_at = wall
        self._keep_pace(wall, watermark_us)
        return 0.0 if has_more else self._idle_seconds(wall)

    def obey(self, row: MarketClock) -> None:
        """Go by what operators wrote into the clock's row: speed, pause, jump, step."""
        wall = time.monotonic()
        self._pace = self._pace.changed(wall, self.watermark_us, speed=row.speed, paused=row.paused)
        self._row = row
        self._clock.follow(row)

    def announced_splits(self) -> list[Split]:
        """Those that the feed has to be told of. A database call."""
        return announced() if self._feed.makes_prices else []

    def resume_prices(self, stored: Iterable[Latest]) -> None:
        """Know the last prices of before this start, to fall back to."""
        trades = {known.trade.symbol: known.trade for known in stored if known.trade}
        self._prices.hear(trades)
        for trade in trades.values():
            if not trade.is_canceled:
                self.bars.remember_price(trade._replace(stands=()))

    def split(self, splits: Sequence[Split]) -> None:
        """Have the feed go by these splits."""
        self._feed.split(splits)

    @property
    def ahead_us(self) -> int:
        """How much market time to reserve beyond the watermark."""
        if self._row.mode != MarketClock.Mode.REPLAY or self._row.paused:
            return 0
        return int(self._row.speed * RESERVE_SECONDS * MICROSECONDS)

    @property
    def is_live(self) -> bool:
        """Whether the feed's source can be heard."""
        return self._feed.is_live()

    def take_halts(self) -> Mapping[str, tuple[bool, str]]:
        """Symbols that the feed's source halted or resumed since the last call, and why."""
        return self._feed.take_halts()

    @property
    def at_barrier(self) -> bool:
        """Whether a stepped market has got where it was asked to, and its row does not say so."""
        return (
            self._row.mode == MarketClock.Mode.STEPPED
            and self._row.watermark_us < self.watermark_us == self._row.advance_to_us
        )

    def take_heard(self) -> Heard:
        """What the database has not been told yet, with the bars as they stand; starts anew."""
        self._note_daily_bars()
        self.heard.add_bars(self.bars.open_minutes())
        heard, self.heard = self.heard, Heard()
        return heard

    # --- how far --------------------------------------------------------------------------------

    def _target_us(self, wall: float) -> int:
        """The market time that may be reached in this turn."""
        row = self._row
        if row.mode in WALL_MODES:
            return self._clock.now_us()
        target_us = row.advance_to_us
        if row.mode == MarketClock.Mode.REPLAY:
            target_us = max(target_us, self._scheduled_us(wall))
        return max(min(target_us, row.reserved_us), self.watermark_us)

    def _scheduled_us(self, wall: float) -> int:
        """The market time that the pace asks for; a recording that is over asks for no more."""
        scheduled_us = self._pace.target_us(wall)
        end_us = self._feed.end_us
        return scheduled_us if end_us is None else min(scheduled_us, end_us)

    def _read(self, target_us: int) -> list[Tick]:
        """The next ticks, as many as a batch takes; an instant is never cut in two."""
        ticks = self._feed.read(target_us, BATCH_TICKS)
        if len(ticks) == BATCH_TICKS:
            while rest := self._feed.read(ticks[-1].at_us, BATCH_TICKS):
                ticks += rest
        return ticks

    def _reached(self, target_us: int) -> int:
        """The instant up to which every tick has now been read."""
        next_us = self._feed.next_us()
        return max(target_us if next_us is None else min(target_us, next_us - 1), self.watermark_us)

    def _is_news(self, wall: float, watermark_us: int) -> bool:
        """Whether a batch without ticks is due: a heartbeat, or the end of a step."""
        if not self._feed.is_live():
            return False
        if wall - self._published_at >= HEARTBEAT_SECONDS:
            return True
        return self._row.mode == MarketClock.Mode.STEPPED and watermark_us > self.watermark_us

    def _idle_seconds(self, wall: float) -> float:
        next_us = self._feed.next_us()
        if next_us is None or self._row.mode == MarketClock.Mode.STEPPED:
            return HEARTBEAT_SECONDS
        if self._row.mode in WALL_MODES:
            due = (next_us - self._clock.now_us()) / MICROSECONDS
        else:
            due = self._pace.wall_of(next_us) - wall
        return min(max(due, TURN_SECONDS), HEARTBEAT_SECONDS)

    def _keep_pace(self, wall: float, watermark_us: int) -> None:
        """Go on from here after a jump, put off what cannot be caught up with, and measure."""
        if self._row.mode != MarketClock.Mode.REPLAY:
            return
        if watermark_us > self._pace.target_us(wall):
            self._pace = self._pace.jumped(wall, watermark_us)
        is_over = self._feed.end_us is not None and watermark_us >= self._feed.end_us
        lag = 0.0 if is_over else self._pace.lag_seconds(wall, watermark_us)
        if lag:
            slipped = self._pace.slipped(wall, watermark_us)
            SLIPPED.inc(slipped.since - self._pace.since)
            self._pace = slipped
        LAG.set(lag)
        BEHIND.set(lag * self._row.speed)

    # --- passing on -----------------------------------------------------------------------------

    async def _take(
        self, ticks: list[Tick], amendments: Sequence[Amendment]
    ) -> tuple[list[Tick], Sequence[Amendment]]:
        """Stamp the ticks with the time of receipt, and let bars and latest quotes have them.

        Bars are made anew where trades were amended, and then the last price is found anew; the
        amendments say which it is.
        """
        ticks = _received(ticks, time.time_ns() // 1000)
        printed = [tick for tick in ticks if type(tick) is Trade]
        add = self.bars.add
        for trade in printed:
            add(trade)
        quotes, trades = latest.newest(ticks)
        self._prices.hear(trades)
        if amendments:
            self._amend_bars(amendments)
            amendments = self._prices.amend(amendments)
            trades |= {each.symbol: each.last for each in amendments if each.last}
        self.heard.quotes.update(quotes)
        self.heard.trades.update(trades)
        newest: list[Tick] = [*quotes.values(), *trades.values()]
        place = Place(self._epoch, self._number + 1)  # whoever hears of the batch finds it stored
        await _with_store(latest.put_many, newest, place)
        TICKS.labels("trade").inc(len(printed))
        TICKS.labels("quote").inc(len(ticks) - len(printed))
        return ticks, amendments

    def _amend_bars(self, amendments: Sequence[Amendment]) -> None:
        for late in self.bars.amend(amendments):
            BARS_LEFT.inc()
            log.warning(
                "%s: a trade of %s is amended too late for its bars, which stay as they are",
                late.symbol,
                to_instant(late.original.at_us).isoformat(),
            )

    def _publish(
        self, ticks: list[Tick], watermark_us: int, amendments: Sequence[Amendment]
    ) -> None:
        self._number += 1
        amended = _by_topic(amendments)
        for topic, some in _by_topic(ticks).items():
            batch = Batch(
                tuple(some), watermark_us, self._epoch, self._number, tuple(amended[topic])
            )
            self._bus.publish(topic, batch)
        self._publish_bars(watermark_us)
        self.watermark_us = watermark_us
        self._clock.observe(watermark_us)
        if self.history is not None and (ticks or amendments):
            self.history.offer([*ticks, *amendments])
        BATCH_SIZE.observe(len(ticks))

    def _publish_bars(self, watermark_us: int) -> None:
        """Publish the minutes that have closed and, as a minute begins, the changed daily bars.

        What was withdrawn before it closed is told to nobody.
        """
        closed, corrected = self.bars.close_until(watermark_us), self.bars.corrections()
        self.heard.add_bars([*closed, *corrected])
        bars = [*(bar for bar in closed if not bar.is_withdrawn), *corrected]
        if watermark_us // MINUTE_US > self.watermark_us // MINUTE_US:
            self._note_daily_bars()
            bars += self._daily_news.values()
            self._daily_news = {}
        if bars:
            self._bus.publish(BARS, bars)

    def _note_daily_bars(self) -> None:
        changed = self.bars.daily_bars(changed_only=True)
        self.heard.add_bars(changed)
        self._daily_news.update({bar[:3]: bar for bar in changed})


def _received(ticks: Iterable[Tick], received_us: int) -> list[Tick]:
    """The ticks with their time of receipt: `_replace`, at a third of its cost."""
    stamped: list[Tick] = []
    for tick in ticks:
        kind = type(tick)
        at = _RECEIVED[kind]
        stamped.append(tuple.__new__(kind, (*tick[:at], received_us, *tick[at + 1 :])))
    return stamped


async def _with_store(job: Callable[..., None], *arguments: Any) -> None:
    """Do what may wait for the store, off the loop where it does."""
    if latest.store().is_remote:
        await asyncio.get_running_loop().run_in_executor(None, job, *arguments)
    else:
        job(*arguments)


def _by_topic(items: Sequence[Item]) -> dict[str, Sequence[Item]]:
    """What each shard has to hear; one without ticks hears the watermark all the same."""
    if len(TICK_TOPICS) == 1:
        return {TICK_TOPICS[0]: items}
    shards: dict[str, list[Item]] = {topic: [] for topic in TICK_TOPICS}
    for item in items:
        shards[tick_topic(item.symbol)].append(item)
    return dict(shards)
