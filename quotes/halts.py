"""Halting and resuming an instrument: while it is halted orders wait and nothing fills.

Risk and the engine read `Instrument.halted`; the message tells those that keep it in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import router, transaction

from events import log
from events.errors import Refused
from quotes import listings
from quotes.clock import market_clock
from quotes.models import CorporateAction, Instrument
from quotes.streaming.bus import CONTROL, bus

UPSTREAM = "halted by the market data's source"  # how such a halt begins its reason
REASON_LENGTH_MAX = 200


class SplitUnderWay(Refused):
    """The instrument's split is being booked; the halt ends by itself."""

    message = "a split is being booked, the halt ends by itself"


@transaction.atomic(durable=True)
def halt(instrument: Instrument, *, reason: str, actor: str) -> Instrument:
    """Halt the instrument, or give its halt another reason."""
    instrument = Instrument.objects.select_for_update().get(pk=instrument.pk)

    if (instrument.halted, instrument.halt_reason) != (True, reason):
        set_halt(instrument, reason=reason, actor=actor)
    return instrument


@transaction.atomic(durable=True)
def resume(instrument: Instrument, *, actor: str) -> Instrument:
    """End the instrument's halt; nothing happens where there is none. Raises SplitUnderWay."""
    instrument = Instrument.objects.select_for_update().get(pk=instrument.pk)

    if not instrument.halted:
        return instrument
    if instrument.corporate_actions.filter(
        status__in=[CorporateAction.Status.UNDER_WAY, CorporateAction.Status.REVERSING],
        kind=CorporateAction.Kind.SPLIT,
    ).exists():
        raise SplitUnderWay(symbol=instrument.symbol)

    set_halt(instrument, reason=None, actor=actor)
    return instrument


def set_halt(instrument: Instrument, *, reason: str | None, actor: str) -> None:
    """Halt a locked instrument for that reason, or resume it (None), in the caller's transaction:
    change, record, announce."""
    instrument.halted, instrument.halt_reason = reason is not None, (reason or "")[:200]
    instrument.save(update_fields=["halted", "halt_reason"])

    what, more = ("resumed", {}) if reason is None else ("halted", {"reason": reason})
    _record(f"quotes.instrument.{what}", instrument, actor, **more)

    _announce("resume" if reason is None else "halt", instrument, **more)


def follow(halted: Mapping[str, tuple[bool, str]]) -> None:
    """Halt (True) and resume instruments as the feed's source did. An operator's halt stays."""
    named = Instrument.objects.filter(symbol__in=halted)
    for instrument in named.using(router.db_for_write(Instrument)):
        is_halted, reason = halted[instrument.symbol]
        if is_halted:
            if not instrument.halted:
                halt(instrument, reason=f"{UPSTREAM}: {reason}"[:REASON_LENGTH_MAX], actor="feed")
        elif instrument.halt_reason.startswith(UPSTREAM):
            resume(instrument, actor="feed")


def _record(kind: str, instrument: Instrument, actor: str, **payload: Any) -> None:
    log.record(
        kind,
        actor=actor,
        subject=f"instrument:{instrument.pk}",
        at=market_clock().now(),
        payload={"symbol": instrument.symbol, **payload},
    )


def _announce(kind: str, instrument: Instrument, **more: Any) -> None:
    message = {"kind": kind, "instrument_id": instrument.pk, "symbol": instrument.symbol, **more}
    transaction.on_commit(lambda: bus().publish(CONTROL, message))
    transaction.on_commit(listings.forget)
