"""Opening a market and moving its time: pause, speed, jump, and the steps of a stepped market.

These use cases change the clock's row; the feed that plays the market obeys it (`quotes.ingest`).
One database holds one market and one run of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from events import log
from events.errors import Invalid, Refused, Unavailable
from quotes import history
from quotes.clock import market_clock
from quotes.feeds.base import InstrumentSpec
from quotes.models import MarketClock
from quotes.pacing import SPEED_MAX, SPEED_MIN
from quotes.streaming.bus import CONTROL, bus
from quotes.ticks import to_instant, to_micros

# Far enough for any test of expiry or settlement, near enough for every calendar.
STEP_MAX = timedelta(days=366)
POLL_SECONDS = 0.005
SETTLE_TIMEOUT_SECONDS = 60.0

PACED = frozenset({MarketClock.Mode.REPLAY})
PLAYED = frozenset({MarketClock.Mode.REPLAY, MarketClock.Mode.STEPPED})


class AnotherMarket(Refused):
    """The database holds another market, or another recording."""

    message = "this database holds another market"


class WrongMode(Refused):
    """This market's time cannot be moved this way."""

    message = "this market's time cannot be moved this way"


class NoMarket(Unavailable):
    """No market has been opened on this database."""

    message = "no market is open on this database"


class NotSettled(Unavailable):
    """The market has not got there in the time allowed; it goes on by itself."""

    code = 50310002
    message = "the market has not settled up to that instant yet; it goes on"


@transaction.atomic(durable=True)
def open_market(
    *,
    mode: str,
    source: str,
    start_us: int,
    speed: float = 1.0,
    instruments: Iterable[InstrumentSpec] = (),
    actor: str = "system",
) -> MarketClock:
    """Open the market of this source, or go on with it where this database already holds it.

    Raises AnotherMarket where it holds another, Invalid for a speed beyond 0.1 to 1000.
    """
    row = MarketClock.objects.select_for_update().filter(pk=1).first()

    _check_speed(speed)
    if row is not None and row.source != source:
        raise AnotherMarket(
            f"this database holds the market {row.source}; {source} is a fresh start and needs"
            " another database (another OPENBELL_HOME)"
        )

    is_new = row is None
    if row is None:
        row = _new_row(source, start_us)
    row.mode, row.speed = mode, speed
    # That a market is open says nothing of its feed: the row's `updated_at` is the feed's word.
    row.save(force_insert=True) if is_new else row.save(update_fields=["mode", "speed"])
    history.enlist(instruments)

    if is_new:
        _record("opened", actor, row, mode=mode, source=source)

    _announce(row)
    return row


@transaction.atomic(durable=True)
def pause(*, actor: str) -> MarketClock:
    """Let a replay's market time stand. Raises NoMarket, WrongMode."""
    return _set(actor, "paused", paused=True)


@transaction.atomic(durable=True)
def resume(*, actor: str) -> MarketClock:
    """Let a replay's market time go on. Raises NoMarket, WrongMode."""
    return _set(actor, "resumed", paused=False)


@transaction.atomic(durable=True)
def set_speed(*, speed: float, actor: str) -> MarketClock:
    """Play a replay at this many market seconds per second. Raises NoMarket, WrongMode, Invalid."""
    _check_speed(speed)
    return _set(actor, "speed_set", speed=speed)


@transaction.atomic(durable=True)
def jump(*, to: datetime, actor: str) -> MarketClock:
    """Play a replay up to `to` as fast as the machine can, then go on at its pace.

    Every close and expiry on the way is carried out, in order. Raises NoMarket, WrongMode, Invalid.
    """
    row = _locked_clock(PACED)

    to_us = _later_instant(to, row)

    row.advance_to_us = max(row.advance_to_us, to_us)
    row.save(update_fields=["advance_to_us"])

    _record("jumped", actor, row, to=to.isoformat())

    _announce(row)
    return row


def advance(
    *,
    to: datetime,
    actor: str,
    timeout_seconds: float = SETTLE_TIMEOUT_SECONDS,
    on_progress: Callable[[datetime], None] | None = None,
) -> datetime:
    """Play a stepped market up to `to` and return once all that follows from it is committed.

    Every order accepted before the call is then admitted and matched. Raises NoMarket, WrongMode,
    Invalid, and NotSettled after `timeout_seconds`. Do not call it inside a transaction.
    """
    row = begin_advance(to=to, actor=actor)
    return wait_until_settled(row.advance_to_us, timeout_seconds, on_progress)


@transaction.atomic(durable=True)
def begin_advance(*, to: datetime, actor: str) -> MarketClock:
    """Ask a stepped market to play up to `to`. Raises NoMarket, WrongMode, Invalid."""
    row = _locked_clock(frozenset({MarketClock.Mode.STEPPED}))

    to_us = _later_instant(to, row)

    row.advance_to_us = max(row.advance_to_us, to_us)
    row.save(update_fields=["advance_to_us"])

    _record("advanced", actor, row, to=to.isoformat())

    _announce(row)
    return row


def wait_until_settled(
    to_us: int, timeout_seconds: float, on_progress: Callable[[datetime], None] | None = None
) -> datetime:
    """Return the market time once it is settled up to `to_us`; NotSettled when it takes longer."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        columns = MarketClock.objects.values_list("watermark_us", "settled_us")
        watermark_us, settled_us = columns.get(pk=1)
        if settled_us >= to_us:
            market_clock().refresh()
            return to_instant(settled_us)
        if on_progress is not None:
            on_progress(to_instant(max(watermark_us, settled_us)))
        if time.monotonic() >= deadline:
            raise NotSettled(
                to=to_instant(to_us).isoformat(), settled=to_instant(settled_us).isoformat()
            )
        time.sleep(POLL_SECONDS)


def _set(actor: str, what: str, **changes: Any) -> MarketClock:
    row = _locked_clock(PACED)

    for field, value in changes.items():
        setattr(row, field, value)
    row.save(update_fields=list(changes))

    _record(what, actor, row, **changes)

    _announce(row)
    return row


def _locked_clock(modes: frozenset[MarketClock.Mode]) -> MarketClock:
    row = MarketClock.objects.select_for_update().filter(pk=1).first()
    if row is None:
        raise NoMarket
    if row.mode not in modes:
        able = " or ".join(sorted(mode.value for mode in modes))
        raise WrongMode(f"a {row.mode} market cannot do that, only a {able} one", mode=row.mode)
    return row


def _check_speed(speed: float) -> None:
    if not SPEED_MIN <= speed <= SPEED_MAX:
        raise Invalid(f"speed must be between {SPEED_MIN:g} and {SPEED_MAX:g}", speed=speed)


def _later_instant(to: datetime, row: MarketClock) -> int:
    """The instant in microseconds, if market time can get there: it only moves forward."""
    now = to_instant(max(row.watermark_us, row.advance_to_us))
    if not now < to <= now + STEP_MAX:
        raise Invalid(
            f"to must be later than the market time {now.isoformat()} by at most"
            f" {STEP_MAX.days} days",
            now=now.isoformat(),
        )
    return to_micros(to)


def _new_row(source: str, start_us: int) -> MarketClock:
    return MarketClock(
        source=source,
        opened_us=start_us,
        watermark_us=start_us,
        reserved_us=start_us,
        advance_to_us=start_us,
        settled_us=start_us,
    )


def _record(what: str, actor: str, row: MarketClock, **payload: Any) -> None:
    log.record(
        f"quotes.market.{what}",
        actor=actor,
        subject="market",
        at=to_instant(row.watermark_us),
        payload=payload,
    )


def _announce(row: MarketClock) -> None:
    def tell() -> None:
        market_clock().follow(row)
        bus().publish(CONTROL, {"kind": "clock"})

    transaction.on_commit(tell)
