"""The two tables: written many rows to a statement, read by range.

SQL is written by hand and speaks integers, as in `quotes.history`. One statement with many rows
lets SQLite work without holding up the interpreter's other threads, which `executemany` would do
row by row. A tick that is there already is left as it is, so writing again does no harm. A trade
that was canceled or corrected stays, and says so; the one in its place is a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connections, router
from django.db.models.constants import OnConflict

from quotes.feeds.base import Tick
from quotes.history import instrument_ids
from quotes.models import QuoteTick, TradeTick
from quotes.ticks import CANCELED, INCORRECT, Amendment, Quote, Trade

ROWS_PER_STATEMENT = 500  # 11 values each, a third of what SQLite takes

Kept = Tick | Amendment
Row = tuple[Any, ...]
Position = tuple[str, int, int]  # symbol, instant and sequence of a tick


class Kind(NamedTuple):
    """How one kind of tick lies in its table."""

    table: str
    columns: tuple[str, ...]  # after the instrument: instant, sequence, and the rest
    row: Callable[[Any], Row]  # the columns of a tick
    tick: Callable[[str, Row], Tick]  # and back


class TickPage(NamedTuple):
    """Ticks by symbol, then time; `after` is where to go on from, None on the last page."""

    ticks: list[Tick]
    after: Position | None


def _quote_row(quote: Quote) -> Row:
    return (
        quote.at_us, quote.sequence, quote.epoch, quote.bid, quote.bid_size, quote.ask,
        quote.ask_size, quote.bid_exchange, quote.ask_exchange, quote.resolution,
    )  # fmt: skip


def _quote(symbol: str, row: Row) -> Quote:
    at_us, sequence, epoch, bid, bid_size, ask, ask_size, bid_exchange, ask_exchange, fine = row
    return Quote(
        symbol, at_us, bid, bid_size, ask, ask_size, sequence, epoch, 0, bid_exchange,
        ask_exchange, fine,
    )  # fmt: skip


def _trade_row(trade: Trade) -> Row:
    return (
        trade.at_us, trade.sequence, trade.epoch, trade.price, trade.size, trade.exchange,
        ",".join(trade.conditions), trade.sets_price, trade.counts_volume, trade.amended,
    )  # fmt: skip


def _trade(symbol: str, row: Row) -> Trade:
    at_us, sequence, epoch, price, size, exchange, conditions, sets_price, counts_volume, u = row
    return Trade(
        symbol, at_us, price, size, sequence, epoch, 0, exchange,
        tuple(conditions.split(",")) if conditions else (), bool(sets_price), bool(counts_volume),
        amended=u,
    )  # fmt: skip


QUOTES = Kind(
    QuoteTick._meta.db_table,
    (
        "at_us", "sequence", "epoch", "bid", "bid_size", "ask", "ask_size", "bid_exchange",
        "ask_exchange", "resolution",
    ),
    _quote_row,
    _quote,
)  # fmt: skip
TRADES = Kind(
    TradeTick._meta.db_table,
    (
        "at_us", "sequence", "epoch", "price", "size", "exchange", "conditions", "sets_price",
        "counts_volume", "amended",
    ),
    _trade_row,
    _trade,
)  # fmt: skip
KINDS = (QUOTES, TRADES)


def insert(ticks: Iterable[Kept], ids: Mapping[str, int]) -> int:
    """Write ticks, in the caller's transaction if there is one; how many had an instrument."""
    rows: dict[Kind, list[Row]] = {QUOTES: [], TRADES: []}
    amendments = []
    for tick in ticks:
        if tick.symbol not in ids:
            continue
        if isinstance(tick, Amendment):
            amendments.append(tick)
            if tick.corrected is not None:
                rows[TRADES].append((ids[tick.symbol], *TRADES.row(tick.corrected)))
            continue
        kind = TRADES if type(tick) is Trade else QUOTES
        rows[kind].append((ids[tick.symbol], *kind.row(tick)))
    for kind, some in rows.items():
        for start in range(0, len(some), ROWS_PER_STATEMENT):
            _insert(kind, some[start : start + ROWS_PER_STATEMENT])
    for amendment in amendments:
        _amend(ids[amendment.symbol], amendment)
    return sum(map(len, rows.values()))


def _amend(instrument_id: int, amendment: Amendment) -> None:
    """Say of a trade that it no longer counts."""
    was = amendment.original
    became = CANCELED if amendment.corrected is None else INCORRECT
    with connections[router.db_for_write(TradeTick)].cursor() as cursor:
        cursor.execute(
            f"UPDATE {TRADES.table} SET amended = %s"
            " WHERE instrument_id = %s AND at_us = %s AND sequence = %s",
            [became, instrument_id, was.at_us, was.sequence],
        )


def _insert(kind: Kind, rows: Sequence[Row]) -> None:
    connection = connections[router.db_for_write(QuoteTick)]
    verb = connection.ops.insert_statement(on_conflict=OnConflict.IGNORE)
    with connection.cursor() as cursor:
        cursor.execute(_statement(verb, kind, len(rows)), [value for row in rows for value in row])


@lru_cache(maxsize=64)
def _statement(verb: str, kind: Kind, count: int) -> str:
    columns = ("instrument_id", *kind.columns)
    places = f"({', '.join(['%s'] * len(columns))})"
    return f"{verb} {kind.table} ({', '.join(columns)}) VALUES {', '.join([places] * count)}"


def page(
    kind: Kind,
    symbols: Iterable[str],
    first_us: int,
    last_us: int,
    *,
    limit: int,
    after: Position | None = None,
    descending: bool = False,
) -> TickPage:
    """A page of the ticks between two instants, both inclusive, by symbol, then time.

    `after` is the position of the last tick of the page before. Each symbol is one step into the
    clustered key and a walk of as many rows as it gives to the page, however long the history is.
    """
    ids = instrument_ids(symbols)
    ticks: list[Tick] = []
    for symbol in sorted(ids):
        if after and symbol < after[0]:
            continue
        beyond = after[1:] if after and symbol == after[0] else None
        wanted = limit + 1 - len(ticks)  # one more tells whether there is a page after this
        rows = _read(kind, ids[symbol], (first_us, last_us), beyond, descending, wanted)
        ticks += (kind.tick(symbol, row) for row in rows)
        if len(ticks) > limit:
            last = ticks[limit - 1]
            return TickPage(ticks[:limit], (last.symbol, last.at_us, last.sequence))
    return TickPage(ticks, None)


def _read(
    kind: Kind,
    instrument_id: int,
    span: tuple[int, int],
    beyond: tuple[int, ...] | None,
    descending: bool,
    limit: int,
) -> list[Row]:
    first_us, last_us = span
    condition, parameters = "", []
    if beyond is not None:
        at_us, sequence = beyond
        first_us, last_us = (first_us, at_us) if descending else (at_us, last_us)
        # Not `(at_us, sequence) > (…)`: MySQL would not see a range of the key in that.
        sign = "<" if descending else ">"
        condition = f" AND (at_us {sign} %s OR sequence {sign} %s)"
        parameters = [at_us, sequence]
    direction = "DESC" if descending else "ASC"
    with connections[router.db_for_read(QuoteTick)].cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(kind.columns)} FROM {kind.table}"
            f" WHERE instrument_id = %s AND at_us BETWEEN %s AND %s{condition}"
            f" ORDER BY at_us {direction}, sequence {direction} LIMIT %s",
            [instrument_id, first_us, last_us, *parameters, limit],
        )
        return cursor.fetchall()
