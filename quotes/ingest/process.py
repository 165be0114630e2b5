"""The process that plays the market: owns the feed's lease, turns the loop, has it written."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from typing import TypeVar

from django.conf import settings
from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    close_old_connections,
    connection,
)
from prometheus_client import Counter

from events import leases
from events.errors import OpenbellError
from events.leases import Lease, LeaseLost
from quotes import halts, latest
from quotes.bars import MINUTE_US, midnight
from quotes.calendar import NEW_YORK
from quotes.clock import WALL_MODES, market_clock
from quotes.feeds.alpaca import AlpacaFeed
from quotes.feeds.base import Feed
from quotes.feeds.lean import LeanFeed
from quotes.feeds.simulated import SimulatedFeed
from quotes.feeds.upstream import Upstream
from quotes.ingest.batches import Ingest
from quotes.ingest.recorder import Recorder, open_bars
from quotes.market import open_market
from quotes.models import MarketClock
from quotes.streaming.bus import CONTROL, Bus, NoRoom, Subscription, WhenFull, bus
from quotes.tick_history.backlog import Backlog
from quotes.tick_history.historian import Historian
from quotes.ticks import MICROSECONDS

LEASE = "feed:0"
KEEP_TIME_SECONDS = 0.25  # also renews the lease
KEEP_HEARD_SECONDS = 1.0
RETRY_SECONDS = 1.0
WRITE_TIMEOUT_SECONDS = 30.0  # beyond every time-out that the database has of its own
CONTROL_MESSAGES = 100
SKIP_STEP_US = 5 * MINUTE_US
NO_ROOM_LOG_SECONDS = 5.0

NO_ROOM = Counter("openbell_feed_no_room_total", "Times a reader kept the feed waiting too long.")
WRITE_ERRORS = Counter("openbell_feed_write_errors_total", "Writes that have to be repeated.")

Result = TypeVar("Result")
log = logging.getLogger(__name__)


def run_feed(stop: threading.Event) -> None:
    """Play the market that settings name until `stop` is set; stands by while another does."""
    try:
        while not stop.is_set():
            _play_as_owner(stop)
    finally:
        connection.close()


def configured_feed() -> tuple[Feed, str]:
    """The feed that settings name, and the mode its market runs in. FeedError where it has none.

    A stepped simulation asks the database when it began, so never on an event loop's thread.
    """
    if settings.FEED == "lean":
        feed: Feed = LeanFeed(settings.FEED_DATA, date.fromisoformat(settings.FEED_DATE))
        mode: str = MarketClock.Mode.REPLAY
    elif settings.FEED == "alpaca":
        upstream = Upstream(
            settings.UPSTREAM_URL, settings.UPSTREAM_KEY_ID, settings.UPSTREAM_SECRET_KEY
        )
        feed = chained = AlpacaFeed(
            upstream, settings.FEED_SYMBOLS, _last_trades, halts.halted_by_source
        )
        return feed, chained.mode
    else:
        feed = SimulatedFeed(settings.FEED_SEED, _simulation_start_us())
        mode = MarketClock.Mode.SIMULATED
    return feed, MarketClock.Mode.STEPPED if settings.FEED_STEPPED else mode


def _last_trades(symbols: Iterable[str]) -> dict[str, int]:
    """The instant of the last trade of each symbol that this market knows."""
    known = latest.get_many(symbols)
    return {symbol: found.trade.at_us for symbol, found in known.items() if found.trade}


def _simulation_start_us() -> int:
    """A simulation runs on from now; a stepped one begins with a day: that of DATE, else today."""
    if not settings.FEED_STEPPED:
        return time.time_ns() // 1000
    if settings.FEED_DATE:
        return midnight(date.fromisoformat(settings.FEED_DATE)) * MICROSECONDS
    begun = MarketClock.objects.filter(pk=1).values_list("opened_us", flat=True).first()
    return begun or midnight(datetime.now(NEW_YORK).date()) * MICROSECONDS


def _play_as_owner(stop: threading.Event) -> None:
    """Wait for the lease, then play until told to stop, losing the lease or failing."""
    try:
        close_old_connections()
        lease = leases.wait_for(LEASE, stop)
        if lease is not None:
            asyncio.run(_play(lease, stop))
    except LeaseLost as lost:
        log.warning("standing by: %s", lost)
    except OpenbellError as error:  # no data, another market: a sentence for whoever started us
        log.error("the market does not run: %s", error.message)
        stop.wait(RETRY_SECONDS)
    except Exception:  # whatever it was, a market that stands still for good is worse
        log.exception("the feed starts again")
        stop.wait(RETRY_SECONDS)


async def _play(lease: Lease, stop: threading.Event) -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="feed-writer") as writer:
        desk = Desk(writer, Recorder(lease))
        try:
            feed, ingest = await desk.write(lambda: _open(lease))
            historian = _historian(ingest, lease)
            try:
                await Player(ingest, desk, bus()).play(stop)
            finally:
                feed.close()
                if historian is not None:
                    await asyncio.get_running_loop().run_in_executor(None, historian.leave)
                await desk.write(lease.release)
        finally:
            await desk.write(lambda: connection.close())  # that of its own thread


def _open(lease: Lease) -> tuple[Feed, Ingest]:
    """The feed and its ingest, at the instant from which the market goes on."""
    feed, mode = configured_feed()
    row = open_market(
        mode=mode,
        source=feed.source,
        start_us=feed.start_us,
        speed=settings.FEED_SPEED if mode not in WALL_MODES else 1.0,
        instruments=feed.instruments(),
    )
    row = Recorder(lease).begin(feed.start_us if mode in WALL_MODES else None)
    clock = market_clock()
    clock.follow(row)
    history = Backlog(waits=mode not in WALL_MODES) if settings.TICK_RETENTION_DAYS else None
    ingest = Ingest(feed, row, clock, bus(), epoch=lease.epoch, history=history)
    ingest.split(ingest.announced_splits())
    symbols = [spec.symbol for spec in feed.instruments()]
    if feed.amends_trades:
        ingest.resume_prices(latest.get_many(symbols, with_canceled=True).values())
    if row.watermark_us > row.opened_us:
        _skip(feed, row.watermark_us + 1, lease)
        stored = open_bars(symbols, row.watermark_us, clock.calendar)
        ingest.bars.resume(stored, row.watermark_us)
    return feed, ingest


def _historian(ingest: Ingest, lease: Lease) -> Historian | None:
    """Who writes the tick history beside the feed, started; None where none is kept."""
    if ingest.history is None:
        return None
    historian = Historian(ingest.history, lease, days=settings.TICK_RETENTION_DAYS)
    historian.start()
    return historian


def _skip(feed: Feed, to_us: int, lease: Lease) -> None:
    """Pass over what is over. A recorded day takes seconds to read, so the lease is kept alive."""
    at_us = feed.next_us()
    while at_us is not None and at_us < to_us:
        feed.skip_to(min(at_us + SKIP_STEP_US, to_us))
        lease.renew_if_due()
        at_us = feed.next_us()


class Desk:
    """The one thread that writes for the feed, so that writes happen in order and off the loop."""

    def __init__(self, writer: ThreadPoolExecutor, recorder: Recorder) -> None:
        self.recorder = recorder
        self._writer = writer

    async def write(self, job: Callable[[], Result]) -> Result:
        """What the job returns; TimeoutError where the database hangs beyond its own time-outs."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
            return await loop.run_in_executor(self._writer, _run, job)


def _run(job: Callable[[], Result]) -> Result:
    """Do it; a connection that may be broken is dropped, and the next job makes a new one."""
    try:
        return job()
    except (OperationalError, InterfaceError):
        connection.close()
        raise


class Player:
    """Turns the loop of one ingest and keeps the database up to date beside it."""

    def __init__(self, ingest: Ingest, desk: Desk, bus: Bus) -> None:
        self._ingest = ingest
        self._desk = desk
        self._bus = bus
        self._time_kept_at = self._heard_kept_at = self._halts_tried_at = float("-inf")
        self._turned_at = time.monotonic()
        self._writing: asyncio.Task[None] | None = None
        self._halts: dict[str, tuple[bool, str]] = {}  # to be followed

    async def play(self, stop: threading.Event) -> None:
        """Until `stop` is set; LeaseLost when another feed has taken over."""
        control = self._bus.subscribe(
            [CONTROL], limit=CONTROL_MESSAGES, when_full=WhenFull.DROP_OLDEST
        )
        try:
            await self._keep_time()
            while not stop.is_set():
                idle_seconds = await self._turn()
                if self._ingest.at_barrier:
                    await self._keep_now()
                if await self._is_called(control, idle_seconds):
                    await self._keep_now()
                await self._follow_halts()
                self._keep_what_is_due()
            await self._leave()
        finally:
            control.close()

    async def _turn(self) -> float:
        try:
            idle_seconds = await self._ingest.run_once()
        except NoRoom as error:
            NO_ROOM.inc()
            if time.monotonic() - self._turned_at > NO_ROOM_LOG_SECONDS:
                self._turned_at = time.monotonic()  # say so again only after as long
                log.warning("the feed waits for a reader: %s", error)
            return 0.0
        self._turned_at = time.monotonic()
        return idle_seconds

    async def _is_called(self, control: Subscription, seconds: float) -> bool:
        """Whether somebody has changed the clock's row; waits for it so long."""
        messages = await control.get_many(seconds)
        return any(message.get("kind") == "clock" for _, message in messages)

    async def _follow_halts(self) -> None:
        """Halt and resume what the feed's source did; until it is written, it is tried again."""
        news, now = self._ingest.take_halts(), time.monotonic()
        self._halts.update(news)
        if not self._halts or not (news or now - self._halts_tried_at >= RETRY_SECONDS):
            return
        self._halts_tried_at = now
        try:
            await self._desk.write(lambda: halts.follow(self._halts))
        except (DatabaseError, InterfaceError) as error:
            self._note_repeat(error)
        else:
            self._halts = {}

    def _keep_what_is_due(self) -> None:
        """Start the next write when the last is done; never waits for one."""
        if self._writing is not None:
            if not self._writing.done():
                return
            writing, self._writing = self._writing, None
            writing.result()
        now = time.monotonic()
        if now - self._time_kept_at >= KEEP_TIME_SECONDS:
            self._writing = asyncio.create_task(self._keep_time())
        elif now - self._heard_kept_at >= KEEP_HEARD_SECONDS:
            self._writing = asyncio.create_task(self._keep_heard())

    async def _keep_now(self) -> None:
        """Write the clock's row and obey what it says, before anything else happens."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing
        await self._keep_time()

    async def _keep_time(self) -> None:
        recorder, ingest = self._desk.recorder, self._ingest
        watermark_us, ahead_us, is_live = ingest.watermark_us, ingest.ahead_us, ingest.is_live
        self._time_kept_at = time.monotonic()
        try:
            row, splits = await self._desk.write(
                lambda: (
                    recorder.keep_time(watermark_us, ahead_us, is_live=is_live),
                    ingest.announced_splits(),  # after what the row asks for
                )
            )
        except (DatabaseError, InterfaceError) as error:
            self._note_repeat(error)
        else:
            ingest.split(splits)
            ingest.obey(row)

    async def _keep_heard(self) -> None:
        recorder, heard = self._desk.recorder, self._ingest.take_heard()
        self._heard_kept_at = time.monotonic()
        try:
            await self._desk.write(lambda: recorder.keep(heard))
        except (DatabaseError, InterfaceError) as error:
            self._ingest.heard.put_back(heard)
            self._note_repeat(error)

    def _note_repeat(self, error: DatabaseError | InterfaceError) -> None:
        WRITE_ERRORS.inc()
        log.warning("the feed writes again later: %s", error)

    async def _leave(self) -> None:
        """Write everything, so that the next start goes on without a gap."""
        if self._writing is not None:
            await self._writing
        recorder, heard = self._desk.recorder, self._ingest.take_heard()
        watermark_us = self._ingest.watermark_us
        await self._desk.write(lambda: recorder.keep(heard))
        await self._desk.write(lambda: recorder.stop_at(watermark_us))
