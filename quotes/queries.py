"""Reading instruments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from django.db import router

from events.errors import NotFound
from events.reads import find_rows
from quotes.models import Instrument


class Listed(NamedTuple):
    """What an instrument is known by, and its row is read by together with other rows."""

    pk: int
    symbol: str


_listed: dict[str, Listed] = {}  # those asked for before; whoever reads the row sees if it is so


def instruments_by_symbol(symbols: Iterable[str]) -> dict[str, Instrument]:
    """Those of the symbols that exist, in one query."""
    found = Instrument.objects.filter(symbol__in=set(symbols))
    return {instrument.symbol: instrument for instrument in found}


def get_instrument(symbol_or_id: str) -> Instrument:
    """The instrument of a symbol or of a public id. Raises NotFound."""
    using = router.db_for_read(Instrument)
    try:
        found = find_rows(Instrument, using=using, public_id=UUID(symbol_or_id))
    except ValueError:
        found = find_rows(Instrument, using=using, symbol=symbol_or_id.upper())
    if not found:
        raise NotFound(f"asset not found for {symbol_or_id}")
    return found[0]


def get_listed(symbol_or_id: str, *, anew: bool = False) -> Listed:
    """What the instrument of a symbol or of a public id is known by. Raises NotFound.

    From memory where it was asked for before, unless it is to be asked `anew`.
    """
    if anew:
        _listed.pop(symbol_or_id.upper(), None)
    found = _listed.get(symbol_or_id.upper())
    if found is None:
        instrument = get_instrument(symbol_or_id)
        found = _listed[instrument.symbol] = Listed(instrument.pk, instrument.symbol)
    return found
