"""What there is to trade, as everybody may see it: from the cache, once for all who ask.

Whoever changes an instrument calls `forget` after the commit. Orders and risk read the row itself.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.cache import caches
from django.db import router

from events.errors import NotFound
from quotes.models import Instrument

ASSET_CLASS = "us_equity"
# Alpaca's answer is not paged either and has about as many.
INSTRUMENTS_MAX = 20_000
NAME = "assets"
ALL = "*"  # no symbol
KEY_LENGTH_MAX = 36  # of a public id; symbols are shorter

Asset = dict[str, Any]


def assets(*, status: str | None = None, exchange: str | None = None) -> list[Asset]:
    """All assets, or those of a status or a listing exchange, by symbol."""
    return [
        asset
        for asset in _cached([ALL], lambda _: {ALL: _all()})[ALL]
        if status in (None, asset["status"]) and exchange in (None, asset["exchange"])
    ]


def get_asset(symbol_or_id: str) -> Asset:
    """The asset of a symbol or of a public id. Raises NotFound."""
    key = _key(symbol_or_id)
    found = _cached([key], _by_key) if len(key) <= KEY_LENGTH_MAX else {}
    if key not in found:
        raise NotFound(f"asset not found for {symbol_or_id}")
    return found[key]


def forget() -> None:
    """Instruments changed: show nobody what they were."""
    caches["quotes"].forget(NAME)  # type: ignore[attr-defined]


def asset_json(instrument: Instrument) -> Asset:
    """The wire contract's asset object. A halted instrument is not tradable just now."""
    return {
        "id": str(instrument.public_id),
        "class": ASSET_CLASS,
        "exchange": instrument.exchange,
        "symbol": instrument.symbol,
        "name": instrument.name or instrument.symbol,
        "status": instrument.status,
        "tradable": instrument.tradable and not instrument.halted,
        "marginable": instrument.marginable,
        "shortable": instrument.shortable,
        "easy_to_borrow": instrument.easy_to_borrow,
        "fractionable": instrument.fractionable,
        "attributes": [],
    }


def _cached(keys: list[str], load: Any) -> dict[str, Any]:
    return caches["quotes"].get_or_load_many(NAME, keys, load)  # type: ignore[attr-defined]


def _all() -> list[Asset]:
    return [asset_json(instrument) for instrument in _rows()[:INSTRUMENTS_MAX]]


def _by_key(keys: list[str]) -> dict[str, Asset]:
    ids = [key for key in keys if _public_id(key) is not None]
    found = [asset_json(each) for each in _rows().filter(public_id__in=ids)] if ids else []
    by_key = {asset["id"]: asset for asset in found}
    if symbols := [key for key in keys if key not in ids]:
        by_key |= {each.symbol: asset_json(each) for each in _rows().filter(symbol__in=symbols)}
    return by_key


def _rows() -> Any:
    # Where it was just changed, where possible: a replica may be behind, and the answer is kept.
    return Instrument.objects.using(router.db_for_read(Instrument, newest=True))


def _key(symbol_or_id: str) -> str:
    public_id = _public_id(symbol_or_id)
    return symbol_or_id.upper() if public_id is None else str(public_id)


def _public_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
