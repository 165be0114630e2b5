"""Closing prices of many instruments over a time, one for each step: what a history is valued at.

Read by hand for the same reason as in `quotes.history`: months of minutes are tens of thousands of
rows, and of each step only the last one counts, which the database picks out.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db import connections, router

from quotes.bars import DAY, MINUTE
from quotes.history import BARS
from quotes.models import Bar

# Instruments in one statement; SQLite takes 32,766 values.
INSTRUMENTS_PER_STATEMENT = 500


def daily_closes(
    instrument_ids: Collection[int], first: int, last: int
) -> dict[int, list[tuple[int, int]]]:
    """(label, close) of each day bar labelled from `first` to `last`, by instrument, ascending.

    Labels are midnights New York in epoch seconds, prices in 1/10,000 USD.
    """
    return _read(
        f"SELECT instrument_id, start, close FROM {BARS} WHERE timeframe = '{DAY}'"
        " AND instrument_id IN ({ids}) AND start BETWEEN %s AND %s ORDER BY instrument_id, start",
        instrument_ids,
        [first, last],
    )


def minute_closes(
    instrument_ids: Collection[int], first: int, last: int, step: int
) -> dict[int, list[tuple[int, int]]]:
    """(start, close) of the last minute bar in each `step` seconds that has one, likewise.

    Steps count from the epoch; only bars that start from `first` to `last` are looked at.
    """
    return _read(
        f"SELECT b.instrument_id, b.start, b.close FROM (SELECT instrument_id, MAX(start) AS start"
        f" FROM {BARS} WHERE timeframe = '{MINUTE}' AND instrument_id IN ({{ids}})"
        " AND start BETWEEN %s AND %s GROUP BY instrument_id, start - start %% %s) n"
        f" JOIN {BARS} b ON b.instrument_id = n.instrument_id AND b.timeframe = '{MINUTE}'"
        " AND b.start = n.start ORDER BY b.instrument_id, b.start",
        instrument_ids,
        [first, last, step],
    )


def _read(
    statement: str, instrument_ids: Collection[int], values: list[int]
) -> dict[int, list[tuple[int, int]]]:
    closes: dict[int, list[tuple[int, int]]] = {}
    ids = sorted(instrument_ids)
    for begin in range(0, len(ids), INSTRUMENTS_PER_STATEMENT):
        some = ids[begin : begin + INSTRUMENTS_PER_STATEMENT]
        # A statement of our own does not pass the router by itself.
        with connections[router.db_for_read(Bar)].cursor() as cursor:
            cursor.execute(statement.format(ids=", ".join(map(str, some))), values)
            for instrument_id, start, close in cursor.fetchall():
                closes.setdefault(instrument_id, []).append((start, close))
    return closes
