"""The bars that are kept: written in short transactions, read by range.

SQL here is written by hand and speaks integers, because a first start writes half a million bars
and a page of history reads ten thousand: through the ORM each price would become a Decimal and
back. Instants are epoch seconds, as in the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby, islice
from typing import Any, NamedTuple

from django.db import connections, router, transaction

from quotes import finished_bars, listings
from quotes.amounts import PRICE_PLACES, from_units
from quotes.bars import DAY, MINUTE, merged, midnight
from quotes.clock import market_clock
from quotes.feeds.base import InstrumentSpec
from quotes.models import Bar as StoredBar
from quotes.models import Instrument
from quotes.splits import Split, adjusted_close
from quotes.ticks import Bar
from quotes.timeframes import BarLength

BARS = StoredBar._meta.db_table
INSTRUMENTS = Instrument._meta.db_table
KEY = ("instrument_id", "timeframe", "start")
VALUES = ("open", "high", "low", "close", "volume", "trade_count", "vwap")

# Some 5 ms of writing on SQLite: a writer that waits for its turn hardly notices.
ROWS_PER_TRANSACTION = 1_000

# Where nobody else writes yet, as at first start, commits only cost time.
ROWS_PER_TRANSACTION_ALONE = 50_000

ROWS_PER_READ = 5_000

# Long bars are made of many stored ones. A page that has read this many ends early, with a key to
# go on from, so that one request never reads the whole table.
ROWS_PER_PAGE_MAX = 100_000


class BarPage(NamedTuple):
    """Bars by symbol, then time; `after` is the key to go on from, None on the last page."""

    bars: list[Bar]
    after: tuple[str, int] | None


class SnapshotBars(NamedTuple):
    """The bars a snapshot of an instrument shows."""

    minute: Bar | None  # the latest finished one
    day: Bar | None  # of the current or last session
    previous_day: Bar | None


# --- writing -----------------------------------------------------------------------------------


def enlist(specs: Iterable[InstrumentSpec]) -> dict[str, int]:
    """See that these instruments exist; their ids by symbol. What exists is left as it is."""
    specs = list(specs)
    Instrument.objects.bulk_create(
        [
            Instrument(symbol=spec.symbol, name=spec.name, exchange=spec.exchange)
            for spec in specs
        ],
        ignore_conflicts=True,
    )  # fmt: skip
    transaction.on_commit(listings.forget)
    return instrument_ids(spec.symbol for spec in specs)


def instrument_ids(symbols: Iterable[str]) -> dict[str, int]:
    """The ids of those of the symbols that exist."""
    found = Instrument.objects.filter(symbol__in=set(symbols))
    return dict(found.values_list("symbol", "pk"))


def upsert_bars(
    bars: Iterable[Bar],
    ids: Mapping[str, int] | None = None,
    *,
    rows_per_transaction: int = ROWS_PER_TRANSACTION,
) -> int:
    """Write bars, newer ones over older ones of the same key; how many were written.

    `ids` are the instruments' ids by symbol, where the caller has them; bars of unknown symbols are
    left out. Goes by slices, each a transaction of its own or part of the caller's.
    """
    bars = iter(bars)
    using = router.db_for_write(StoredBar)
    statement = _upsert_statement(connections[using])
    written = 0
    while batch := list(islice(bars, rows_per_transaction)):
        known = instrument_ids(bar.symbol for bar in batch) if ids is None else ids
        # A Bar's fields are the table's columns, but for the symbol in the instrument's place.
        rows = [(known[bar.symbol], *bar[1:]) for bar in batch if bar.symbol in known]
        with (
            transaction.atomic(using=using, savepoint=False),
            connections[using].cursor() as cursor,
        ):
            cursor.executemany(statement, rows)
        finished_bars.note_written((row[2] for row in rows), using)
        written += len(rows)
    return written


def remove_bars(bars: Iterable[Bar], ids: Mapping[str, int]) -> None:
    """Remove stored bars by their keys, in the caller's transaction; `ids` as above."""
    rows = [(ids[bar.symbol], bar.timeframe, bar.start) for bar in bars if bar.symbol in ids]
    if not rows:
        return
    using = router.db_for_write(StoredBar)
    quote = connections[using].ops.quote_name
    condition = " AND ".join(f"{quote(name)} = %s" for name in KEY)
    with connections[using].cursor() as cursor:
        cursor.executemany(f"DELETE FROM {quote(BARS)} WHERE {condition}", rows)
    finished_bars.note_written((row[2] for row in rows), using)


def _upsert_statement(connection: Any) -> str:
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, KEY + VALUES))
    places = ", ".join(["%s"] * len(KEY + VALUES))
    insert = f"INSERT INTO {quote(BARS)} ({columns}) VALUES ({places})"
    if connection.vendor == "mysql":
        updates = ", ".join(f"{quote(name)} = VALUES({quote(name)})" for name in VALUES)
        return f"{insert} ON DUPLICATE KEY UPDATE {updates}"
    updates = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in VALUES)
    return f"{insert} ON CONFLICT ({', '.join(map(quote, KEY))}) DO UPDATE SET {updates}"


# --- ranges ------------------------------------------------------------------------------------


def bars(
    symbols: Iterable[str],
    length: BarLength,
    start: int,
    end: int,
    *,
    limit: int,
    after: tuple[str, int] | None = None,
    descending: bool = False,
    until: int | None = None,
    splits: Sequence[Split] = (),
) -> BarPage:
    """A page of the bars whose labels lie from `start` to `end`, both inclusive.

    Ordered by symbol, then time; `after` is the key of the last bar of the page before. A page may
    hold fewer than `limit` bars and still have one after it. Stored bars that start after `until`
    count for nothing: a replay does not know its future, even where the week that holds it has
    begun.
    """
    ids = instrument_ids(symbols)
    page: list[Bar] = []
    budget = _Budget(ROWS_PER_PAGE_MAX)
    for symbol in sorted(ids):
        if after and symbol < after[0]:
            continue
        beyond = after[1] if after and symbol == after[0] else None
        first, last = _labels(length, start, end, beyond, descending)
        span = first, last if until is None else min(last, until)
        own = [split for split in splits if split.instrument_id == ids[symbol]]
        for bar in _bars_of(symbol, ids[symbol], length, span, descending, budget, own):
            if len(page) == limit or (budget.is_spent and page):
                return BarPage(page, (page[-1].symbol, page[-1].start))
            page.append(bar)
    return BarPage(page, None)


class _Budget:
    """How many stored rows a page may still read."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    @property
    def is_spent(self) -> bool:
        return self.rows <= 0


def _labels(
    length: BarLength, start: int, end: int, beyond: int | None, descending: bool
) -> tuple[int, int]:
    """First and last second of the stored bars that the labels from start to end are made of."""
    first = length.label(start)
    if first < start:
        first = length.end(first)
    last = length.end(length.label(end)) - 1
    if beyond is None:
        return first, last
    return (first, beyond - 1) if descending else (length.end(beyond), last)


def _bars_of(
    symbol: str,
    instrument_id: int,
    length: BarLength,
    span: tuple[int, int],
    descending: bool,
    budget: _Budget,
    splits: Sequence[Split],
) -> Iterator[Bar]:
    stored = _stored(symbol, instrument_id, length.stored, span, descending, budget)
    for split in splits:
        stored = map(split.bar, stored)
    if length.is_stored:
        yield from stored
        return
    for label, group in groupby(stored, key=lambda bar: length.label(bar.start)):
        members = sorted(group, key=lambda bar: bar.start)
        yield merged(members, str(length), label)


def _stored(
    symbol: str,
    instrument_id: int,
    timeframe: str,
    span: tuple[int, int],
    descending: bool,
    budget: _Budget,
) -> Iterator[Bar]:
    """Stored bars in order, read as they are asked for."""
    first, last = span
    while first <= last:
        rows = _read(
            f"SELECT start, {_columns()} FROM {BARS} WHERE instrument_id = %s AND timeframe = %s"
            f" AND start BETWEEN %s AND %s ORDER BY start {'DESC' if descending else 'ASC'}"
            " LIMIT %s",
            [instrument_id, timeframe, first, last, ROWS_PER_READ],
        )
        budget.rows -= len(rows)
        for row in rows:
            yield Bar(symbol, timeframe, *row)
        if len(rows) < ROWS_PER_READ:
            return
        first, last = (first, rows[-1][0] - 1) if descending else (rows[-1][0] + 1, last)


# --- the latest --------------------------------------------------------------------------------


def latest_minute_bars(symbols: Iterable[str], now: datetime) -> dict[str, Bar]:
    """The latest finished minute bar of each symbol that has one."""
    finished = int(now.timestamp()) - 60
    return {symbol: found[0] for symbol, found in _newest(symbols, MINUTE, finished, 1).items()}


def daily_bars(symbols: Iterable[str], now: datetime) -> dict[str, list[Bar]]:
    """The daily bar of the current or last session and the one before it, newest first."""
    return _newest(symbols, DAY, int(now.timestamp()), 2)


def snapshot_bars(symbols: Sequence[str], now: datetime) -> dict[str, SnapshotBars]:
    """The bars that snapshots of these symbols show, in two queries."""
    minutes = latest_minute_bars(symbols, now)
    days = daily_bars(symbols, now)
    snapshots = {}
    for symbol in symbols:
        day, previous_day, *_ = *days.get(symbol, []), None, None
        snapshots[symbol] = SnapshotBars(minutes.get(symbol), day, previous_day)
    return snapshots


def previous_close(
    instrument_ids: Iterable[int], now: datetime, splits: Sequence[Split] = ()
) -> dict[int, Decimal]:
    """The close of the trading day before the one `now` belongs to; without history, no entry.

    As it counts after these splits, where it is from before them. Which days those are the calendar
    of the running market says. Between sessions the coming day counts, so that on a Sunday it is
    Friday's close.
    """
    ids = list(instrument_ids)
    if not ids:
        return {}
    today = midnight(market_clock().calendar.trading_date(now))
    rows = _read_newest("id", ids, DAY, today - 1, 1)
    closes = {row[0]: adjusted_close(row[2], row[6], splits, row[0]) for row in rows}
    return {pk: from_units(close, PRICE_PLACES) for pk, close in closes.items()}


def _newest(symbols: Iterable[str], timeframe: str, last: int, count: int) -> dict[str, list[Bar]]:
    """The `count` newest bars of each symbol that start by `last`, newest first, in one query."""
    wanted = sorted(set(symbols))
    if not wanted:
        return {}
    rows = _read_newest("symbol", wanted, timeframe, last, count)
    newest: dict[str, list[Bar]] = {}
    for _, symbol, *values in sorted(rows, key=lambda row: -row[2]):
        newest.setdefault(symbol, []).append(Bar(symbol, timeframe, *values))
    return newest


def _read_newest(
    by: str, wanted: Sequence[Any], timeframe: str, last: int, count: int
) -> list[tuple[Any, ...]]:
    """Rows of instrument id, symbol, start and values, of instruments chosen `by` id or symbol.

    First seeks the start of each bar, then the bar: two steps in the key, however long the history
    is. (A range that a subquery bounds would be quick on SQLite alone.)
    """
    starts = [
        f"SELECT i.id, i.symbol, (SELECT o.start FROM {BARS} o WHERE o.instrument_id = i.id"
        f" AND o.timeframe = %s AND o.start <= %s ORDER BY o.start DESC LIMIT 1 OFFSET {place})"
        f" AS start FROM {INSTRUMENTS} i WHERE i.{by} IN ({', '.join(['%s'] * len(wanted))})"
        for place in range(count)
    ]
    return _read(
        f"SELECT n.id, n.symbol, b.start, {_columns('b.')} FROM ({' UNION ALL '.join(starts)}) n"
        f" JOIN {BARS} b ON b.instrument_id = n.id AND b.timeframe = %s AND b.start = n.start",
        [*(timeframe, last, *wanted) * count, timeframe],
    )


def _columns(prefix: str = "") -> str:
    return ", ".join(prefix + name for name in VALUES)


def _read(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    # A statement of our own does not pass the router by itself.
    with connections[router.db_for_read(StoredBar)].cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()
