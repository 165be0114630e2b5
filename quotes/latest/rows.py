"""The table that stands in for the fast store: the newest quote and trade of each instrument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db import connection

from quotes.amounts import PRICE_PLACES, from_units, to_units
from quotes.latest.local import Latest
from quotes.models import Instrument, LatestQuote
from quotes.ticks import Quote, Trade

QUOTE_COLUMNS = {  # column of the table: field of the quote
    "epoch": "epoch",
    "quote_sequence": "sequence",
    "quote_at_us": "at_us",
    "received_us": "received_us",
    "bid_size": "bid_size",
    "bid_exchange": "bid_exchange",
    "ask_size": "ask_size",
    "ask_exchange": "ask_exchange",
    "resolution": "resolution",
}
TRADE_COLUMNS = {
    "trade_epoch": "epoch",
    "trade_sequence": "sequence",
    "trade_at_us": "at_us",
    "trade_size": "size",
    "trade_exchange": "exchange",
    "trade_amended": "amended",
}
RANK_COLUMNS = ("rank_epoch", "rank_number", "rank_version")
PRICE_COLUMNS = ("bid", "ask", "trade_price")

_instrument_ids: dict[str, int] = {}


def load(symbols: Iterable[str]) -> dict[str, Latest]:
    """What the table knows of the symbols, with one query."""
    rows = LatestQuote.objects.filter(instrument__symbol__in=list(symbols))
    return {row.instrument.symbol: _latest(row) for row in rows.select_related("instrument")}


def save(latest: Mapping[str, Latest]) -> None:
    """Upsert, in the caller's transaction; symbols without an instrument are passed over.

    The caller is the feed's owner and its lease is checked, so what it has is the newest.
    """
    ids = instrument_ids(latest)
    columns = [*QUOTE_COLUMNS, *TRADE_COLUMNS, *RANK_COLUMNS, *PRICE_COLUMNS]
    with_target = connection.features.supports_update_conflicts_with_target
    LatestQuote.objects.bulk_create(
        [_row(ids[symbol], latest[symbol]) for symbol in sorted(latest) if symbol in ids],
        update_conflicts=True,
        update_fields=columns,
        unique_fields=["instrument"] if with_target else None,
        batch_size=200,
    )


def instrument_ids(symbols: Iterable[str]) -> dict[str, int]:
    """The instruments' keys by symbol; asks the database only for those not known yet."""
    wanted = list(symbols)
    unknown = [symbol for symbol in wanted if symbol not in _instrument_ids]
    if unknown:
        found = Instrument.objects.filter(symbol__in=unknown).values_list("symbol", "pk")
        _instrument_ids.update(found)
    return {symbol: _instrument_ids[symbol] for symbol in wanted if symbol in _instrument_ids}


def forget_instruments() -> None:
    """Ask the database again which instruments there are."""
    _instrument_ids.clear()


def _latest(row: LatestQuote) -> Latest:
    symbol = row.instrument.symbol
    quote = trade = None
    if row.quote_at_us:
        fields = {field: getattr(row, column) for column, field in QUOTE_COLUMNS.items()}
        bid, ask = _units(row.bid), _units(row.ask)
        quote = Quote(symbol=symbol, bid=bid, ask=ask, **fields)
    if row.trade_at_us:
        fields = {field: getattr(row, column) for column, field in TRADE_COLUMNS.items()}
        stands = (row.rank_epoch, row.rank_number, row.rank_version) if row.rank_version else ()
        trade = Trade(symbol=symbol, price=_units(row.trade_price), stands=stands, **fields)
    return Latest(quote, trade)


def _row(instrument_id: int, latest: Latest) -> LatestQuote:
    row = LatestQuote(instrument_id=instrument_id)
    if latest.quote is not None:
        for column, field in QUOTE_COLUMNS.items():
            setattr(row, column, getattr(latest.quote, field))
        row.bid = _price(latest.quote.bid)
        row.ask = _price(latest.quote.ask)
    if latest.trade is not None:
        for column, field in TRADE_COLUMNS.items():
            setattr(row, column, getattr(latest.trade, field))
        row.trade_price = _price(latest.trade.price)
        if latest.trade.stands:
            row.rank_epoch, row.rank_number, row.rank_version = latest.trade.stands
    return row


def _units(price: object) -> int:
    return to_units(price, PRICE_PLACES)  # type: ignore[arg-type]


def _price(units: int) -> object:
    return from_units(units, PRICE_PLACES)
