"""Halting and resuming an instrument: while it is halted orders wait and nothing fills.

Risk and the engine read `Instrument.halted`; the message tells those that keep it in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import router, transaction
from django.db.models import QuerySet

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
    if _splits_under_way(instrument).exists():
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


def split_reason(action: CorporateAction) -> str:
    """What an instrument's halt says while its split is booked or taken back; it ends with that."""
    return f"{action} is being {'booked' if action.reverse_at is None else 'taken back'}"


def follow(halted: Mapping[str, tuple[bool, str]]) -> None:
    """Halt (True) and resume instruments as the feed's source did. An operator's halt stays."""
    named = Instrument.objects.filter(symbol__in=halted)
    for instrument in named.using(router.db_for_write(Instrument)):
        is_halted, reason = halted[instrument.symbol]
        if is_halted:
            _halt_as_source(instrument.pk, f"{UPSTREAM}: {reason}"[:REASON_LENGTH_MAX])
        elif instrument.halt_reason.startswith(UPSTREAM):
            _resume_as_source(instrument.pk)


def halted_by_source() -> list[str]:
    """The symbols that the feed's source has halted and not resumed, as far as we heard."""
    halted = Instrument.objects.filter(halted=True, halt_reason__startswith=UPSTREAM)
    return list(halted.using(router.db_for_write(Instrument)).values_list("symbol", flat=True))


@transaction.atomic(durable=True)
def _halt_as_source(instrument_id: int, reason: str) -> None:
    """Also where a split is booked: else the halt would end with that."""
    instrument = Instrument.objects.select_for_update().get(pk=instrument_id)

    of_splits = {split_reason(action) for action in _splits_under_way(instrument)}
    if not instrument.halted or instrument.halt_reason in of_splits:
        set_halt(instrument, reason=reason, actor="feed")


@transaction.atomic(durable=True)
def _resume_as_source(instrument_id: int) -> None:
    """Where a split is booked, the halt goes on as the split's own and ends with that."""
    instrument = Instrument.objects.select_for_update().get(pk=instrument_id)

    if instrument.halt_reason.startswith(UPSTREAM):
        split = _splits_under_way(instrument).first()
        reason = None if split is None else split_reason(split)
        set_halt(instrument, reason=reason, actor="feed")


def _splits_under_way(instrument: Instrument) -> QuerySet[CorporateAction]:
    return instrument.corporate_actions.filter(
        status__in=[CorporateAction.Status.UNDER_WAY, CorporateAction.Status.REVERSING],
        kind=CorporateAction.Kind.SPLIT,
    ).order_by("due_at", "pk")


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
