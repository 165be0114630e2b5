"""The execution process: a loop that hears the bus, and for each shard a thread with its engine.

Embedded it runs beside everything else, deployed as `manage.py run_execution`; either way it owns
shards through leases, and stands by for all others. The loop's thread makes no database calls.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, connections

from events.leases import Lease, LeaseLost, wait_for
from quotes.clock import market_clock
from quotes.models import MarketClock
from quotes.streaming.bus import CONTROL, ORDERS, TICK_TOPICS, Subscription, WhenFull, bus
from trading import corporate_actions, margin_calls
from trading.execution.engine import Engine
from trading.execution.engines import engine_for
from trading.execution.matching import FillModel
from trading.execution.shards import WHOLE, CannotShare, Shard, all_shards, make_sure
from trading.execution.sharing import ASIDE_SECONDS, Sharing

LEASE_NAME = WHOLE.lease_name
LANES = 2  # more would wait for Python
COLLECT_AFTER = 20_000  # new objects: about what a batch of decisions makes

# A replay's feed waits for the engine, so a few batches suffice; a live one does not wait.
PLAYED_LIMIT = 64
LIVE_LIMIT = 2_048
PLAYED = frozenset({MarketClock.Mode.REPLAY, MarketClock.Mode.STEPPED})

IDLE_SECONDS = 0.25  # the longest the engine sleeps: it renews its lease and looks around
BUSY_SECONDS = 0.01  # while decisions wait for accounts that others have locked
READY_SECONDS = 10.0
RETRY_SECONDS = 0.5

T = TypeVar("T")
Call = Callable[..., Awaitable[Any]]

logger = logging.getLogger(__name__)


def run_execution(stop: threading.Event) -> None:
    """Own shards and execute their orders until `stop` is set."""
    shards = all_shards()
    with ExitStack() as threads:
        calls = [threads.enter_context(_database_thread()) for _ in shards]
        asyncio.run(_run_all(shards, calls, stop))


@contextmanager
def _database_thread() -> Iterator[Call]:
    """A thread whose connection nobody shares, to call functions in."""
    with ThreadPoolExecutor(1, "execution") as thread:

        async def call(work: Callable[..., T], *args: Any) -> T:
            return await asyncio.get_running_loop().run_in_executor(thread, partial(work, *args))

        try:
            yield call
        finally:
            thread.submit(connections.close_all).result()


async def _run_all(shards: list[Shard], calls: list[Call], stop: threading.Event) -> None:
    sharing = Sharing(shards)
    async with _balanced(sharing, shards):
        runs = (_run(*each, sharing, stop) for each in zip(shards, calls, strict=True))
        await asyncio.gather(*runs)


@asynccontextmanager
async def _balanced(sharing: Sharing, shards: list[Shard]) -> AsyncIterator[None]:
    """Beside other processes this one has its share; where there is one shard, all or nothing."""
    if len(shards) == 1:
        yield
    else:
        async with _beside(sharing.watch, name="sharing"):
            yield


@asynccontextmanager
async def _beside(work: Callable[[threading.Event], None], name: str) -> AsyncIterator[None]:
    """A thread that works until it is told to stop, and that no order waits for."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        await asyncio.to_thread(thread.join, READY_SECONDS)


async def _run(shard: Shard, call: Call, sharing: Sharing, stop: threading.Event) -> None:
    """Own one shard whenever nobody else does."""
    while not stop.is_set():
        try:
            lease = await call(wait_for, shard.lease_name, stop)
            if lease is not None:
                await _own(shard, lease, sharing, stop, call)
        except LeaseLost as lost:
            logger.warning("standing by: %s", lost)
        except CannotShare as problem:
            logger.error("%s waits: %s", shard.lease_name, problem)
            await call(lease.release)
            await asyncio.sleep(RETRY_SECONDS * (1 + random.random()))  # two that meet go apart
        except (OperationalError, InterfaceError) as error:
            logger.warning("the database is away: %s", error)
            await call(_reconnect)
        except Exception:
            # The database holds the truth: what was in memory is dropped and loaded again.
            logger.exception("the engine failed and starts afresh")
            await asyncio.sleep(RETRY_SECONDS)
        if sharing.is_to_go(shard):
            sharing.has_gone(shard)
            await call(stop.wait, ASIDE_SECONDS)


async def _own(
    shard: Shard, lease: Lease, sharing: Sharing, stop: threading.Event, call: Call
) -> None:
    """Execute orders as the shard's owner. Subscribes first and loads second."""
    await call(_wait_for_market, lease, stop)
    if stop.is_set():
        await call(lease.release)
        return
    await call(make_sure, shard, lease)
    mode = await call(lambda: market_clock().mode)
    subscription = _subscribe(mode, is_alone=shard == WHOLE)
    try:
        await subscription.ready(READY_SECONDS)
        engine = await call(engine_for, lease, fill_model(), lanes(), shard)
        try:
            async with _watched(shard, lease):
                is_over = partial(_is_over, shard, sharing, stop)
                await _execute(engine, subscription, is_over, call)
            await call(engine.drain)
        finally:
            await call(engine.close)
        await call(lease.release)
    finally:
        subscription.close()


def _is_over(shard: Shard, sharing: Sharing, stop: threading.Event) -> bool:
    return stop.is_set() or sharing.is_to_go(shard)


@asynccontextmanager
async def _watched(shard: Shard, lease: Lease) -> AsyncIterator[None]:
    """Margin calls and, on wall time, corporate actions are carried out beside the engine of the
    first shard, for all of them."""
    if shard.number != 0:
        yield
        return
    async with (
        _beside(partial(margin_calls.watch, lease), name="margin_calls"),
        _beside(partial(corporate_actions.watch, lease), name="corporate_actions"),
    ):
        yield


async def _execute(
    engine: Engine, subscription: Subscription, is_over: Callable[[], bool], call: Call
) -> None:
    messages: list[tuple[str, Any]] = []
    while not is_over():
        missed, subscription.missed = subscription.missed, False
        try:
            await call(engine.run_once, messages, missed)
            messages = []
        except (OperationalError, InterfaceError) as error:
            # What is decided waits in the engine; the messages may have been taken in half.
            logger.warning("settlement waits, the database is away: %s", error)
            messages, subscription.missed = [], True
            await call(_reconnect)
            continue
        messages = await subscription.get_many(_pause(engine))


def _pause(engine: Engine) -> float:
    """How long the engine may sleep where there is no news."""
    if engine.pending.is_behind:
        return 0.0
    return BUSY_SECONDS if len(engine.pending) else IDLE_SECONDS


def _subscribe(mode: str, *, is_alone: bool) -> Subscription:
    """Hear ticks, orders and commands. A played market's feed waits for us, a live one does not.

    A shard that is alone hears a live market on this loop, which spares each order one change of
    threads; several would each decode the same.
    """
    topics = (*TICK_TOPICS, ORDERS, CONTROL)
    if mode in PLAYED:
        return bus().subscribe(topics, limit=PLAYED_LIMIT, when_full=WhenFull.BLOCK)
    if is_alone:
        return bus().subscribe_here(topics, limit=LIVE_LIMIT)
    return bus().subscribe(topics, limit=LIVE_LIMIT, when_full=WhenFull.DROP_OLDEST)


def _wait_for_market(lease: Lease, stop: threading.Event) -> None:
    """Return once a market is open: the feed opens it, and may start after us."""
    while not market_clock().source and not stop.wait(IDLE_SECONDS):
        lease.renew_if_due()


def _reconnect() -> None:
    """Drop a connection that may be broken; the next query makes a new one."""
    time.sleep(RETRY_SECONDS)
    connection.close()


def lanes() -> int:
    """How many transactions settle at once: SQLite has one writer."""
    return LANES if connection.vendor == "mysql" else 1


def collect_rarely() -> None:
    """For a process that does nothing else: the rows of a settlement are gone when it ends, and to
    look through them for garbage before that finds nothing."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 50)


def fill_model() -> FillModel:
    """The fill model that settings name."""
    return FillModel(settings.FILL_MODEL)
