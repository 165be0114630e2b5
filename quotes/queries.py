"""Reading instruments."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import QuerySet

from events.errors import NotFound
from quotes.models import Instrument

# Alpaca's answer is not paged either and has about as many.
INSTRUMENTS_MAX = 20_000


def instruments(*, status: str | None = None, exchange: str | None = None) -> QuerySet[Instrument]:
    """All instruments, or those of a status or a listing exchange, by symbol."""
    found = Instrument.objects.all()
    if status is not None:
        found = found.filter(status=status)
    if exchange is not None:
        found = found.filter(exchange=exchange)
    return found[:INSTRUMENTS_MAX]


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
