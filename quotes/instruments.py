"""What an operator says of an instrument: its name, where it is listed, and what may be done with
it. Halting is not said here (`quotes.halts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from events import log
from events.transactions import retried
from quotes import listings
from quotes.clock import market_clock
from quotes.models import Instrument

TERMS = (
    *("name", "exchange", "status", "tradable", "fractionable"),
    *("marginable", "shortable", "easy_to_borrow"),
)


@retried
@transaction.atomic
def add_instrument(instrument: Instrument, *, actor: str) -> None:
    """Store a new instrument."""
    instrument.save(force_insert=True)

    _record("added", instrument, actor, **_terms(instrument, TERMS))

    transaction.on_commit(listings.forget)


@retried
@transaction.atomic
def change_instrument(*, instrument_id: int, changes: Mapping[str, Any], actor: str) -> Instrument:
    """Change those of an instrument's `TERMS` that are named, and no other column: a halt of
    meanwhile stays. Nothing is recorded where they are so already.
    """
    instrument = Instrument.objects.select_for_update().get(pk=instrument_id)

    assert changes.keys() <= set(TERMS), changes
    changed = [name for name, value in changes.items() if getattr(instrument, name) != value]
    if not changed:
        return instrument

    before = _terms(instrument, changed)
    for name in changed:
        setattr(instrument, name, changes[name])
    instrument.save(update_fields=changed)

    _record("changed", instrument, actor, before=before, after=_terms(instrument, changed))

    transaction.on_commit(listings.forget)
    return instrument


def _terms(instrument: Instrument, names: Any) -> dict[str, Any]:
    return {name: getattr(instrument, name) for name in names}


def _record(what: str, instrument: Instrument, actor: str, **payload: Any) -> None:
    log.record(
        f"quotes.instrument.{what}",
        actor=actor,
        subject=f"instrument:{instrument.pk}",
        at=market_clock().now(),
        payload={"symbol": instrument.symbol, **payload},
    )
