"""The execution process: a loop that hears the bus, and a thread that drives the engine.

Embedded it runs beside everything else, deployed as `manage.py run_execution`; either way it owns
its shard through a lease, and a second one stands by. The loop's thread makes no database calls.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, connections

from events.leases import Lease, LeaseLost, wait_for
from quotes.clock import market_clock
from quotes.models import MarketClock
from quotes.streaming.bus import CONTROL, ORDERS, TICK_TOPICS, Subscription, WhenFull, bus
from trading.execution.engine import Engine, engine_for
from trading.execution.matching import FillModel
from trading.margin_calls import watch

LEASE_NAME = "execution:0"
LANES = 2  # more would wait for Python

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
    """Own the shard and execute its orders until `stop` is set."""
    with ThreadPoolExecutor(1, "execution") as database_thread:
        try:
            asyncio.run(_run(stop, database_thread))
        finally:
            database_thread.submit(connections.close_all).result()


async def _run(stop: threading.Event, database_thread: ThreadPoolExecutor) -> None:
    async def call(work: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(database_thread, partial(work, *args))

    while not stop.is_set():
        try:
            lease = await call(wait_for, LEASE_NAME, stop)
            if lease is not None:
                await _own(lease, stop, call)
        except LeaseLost as lost:
            logger.warning("standing by: %s", lost)
        except (OperationalError, InterfaceError) as error:
            logger.warning("the database is away: %s", error)
            await call(_reconnect)
        except Exception:
            # The database holds the truth: what was in memory is dropped and loaded again.
            logger.exception("the engine failed and starts afresh")
            await asyncio.sleep(RETRY_SECONDS)


async def _own(lease: Lease, stop: threading.Event, call: Call) -> None:
    """Execute orders as the shard's owner. Subscribes first and loads second."""
    await call(_wait_for_market, lease, stop)
    if stop.is_set():
        return
    subscription = _subscribe(await call(lambda: market_clock().mode))
    try:
        await subscription.ready(READY_SECONDS)
        engine = await call(engine_for, lease, fill_model(), lanes())
        try:
            async with _watched(lease):
                await _execute(engine, subscription, stop, call)
            await call(engine.drain)
        finally:
            await call(engine.close)
        await call(lease.release)
    finally:
        subscription.close()


@asynccontextmanager
async def _watched(lease: Lease) -> AsyncIterator[None]:
    """Margin calls are made beside the engine, in a thread that no order waits for."""
    stop = threading.Event()
    thread = threading.Thread(target=watch, args=(lease, stop), name="margin_calls", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        await asyncio.to_thread(thread.join, READY_SECONDS)


async def _execute(
    engine: Engine, subscription: Subscription, stop: threading.Event, call: Call
) -> None:
    messages: list[tuple[str, Any]] = []
    while not stop.is_set():
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
        wait = BUSY_SECONDS if len(engine.pending) else IDLE_SECONDS
        messages = await subscription.get_many(wait)


def _subscribe(mode: str) -> Subscription:
    """Hear ticks, orders and commands. A played market's feed waits for us, a live one does not."""
    topics = (*TICK_TOPICS, ORDERS, CONTROL)
    if mode in PLAYED:
        return bus().subscribe(topics, limit=PLAYED_LIMIT, when_full=WhenFull.BLOCK)
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


def fill_model() -> FillModel:
    """The fill model that settings name."""
    return FillModel(settings.FILL_MODEL)
