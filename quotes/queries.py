"""Reading instruments."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from events.errors import NotFound
from quotes.models import Instrument


def instruments_by_symbol(symbols: Iterable[str]) -> dict[str, Instrument]:
    """Those of the symbols that exist, in one query."""
    found = Instrument.objects.filter(symbol__in=set(symbols))
    return {instrument.symbol: instrument for instrument in found}


def get_instrument(symbol_or_id: str) -> Instrument:
    """The instrument of a symbol or of a public id. Raises NotFound."""
    try:
        found = Instrument.objects.filter(public_id=UUID(symbol_or_id))
    except ValueError:
        found = Instrument.objects.filter(symbol=symbol_or_id.upper())
    instrument = found.first()
    if instrument is None:
        raise NotFound(f"asset not found for {symbol_or_id}")
    return instrument
