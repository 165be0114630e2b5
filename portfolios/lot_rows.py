"""Lots in their table: as few are read as a closing needs, and many are written at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from django.db import connection

from events.bulk import insert_rows, update_rows
from portfolios.models import Lot

ZERO = Decimal(0)

Key = tuple[int, int]  # (account id, instrument id)

# Lots of one position in the first slice, and in each one after it: most sales close a few lots.
FIRST_SLICE = 16
NEXT_SLICE = 500
KEYS_PER_STATEMENT = 100  # SQLite takes 500 parts in one
ROWS_PER_STATEMENT = 1_000  # SQLite takes 32,766 values


def load(closing: Mapping[Key, Decimal]) -> dict[Key, list[Lot]]:
    """Under each key the oldest lots that together hold that many shares, or all there are.

    What is read grows with what is closed, not with what is open: lots come in slices along their
    index, those of all keys in one statement. The caller has locked the accounts.
    """
    found: dict[Key, list[Lot]] = {key: [] for key in closing}
    missing = dict(closing)
    size = FIRST_SLICE
    while missing:
        for key, lots in _next_slices({key: found[key] for key in missing}, size).items():
            found[key] += lots
            missing[key] -= sum((abs(lot.quantity_left) for lot in lots), ZERO)
            if missing[key] <= 0 or len(lots) < size:
                del missing[key]
        size = NEXT_SLICE
    return found


def _next_slices(found: Mapping[Key, Sequence[Lot]], size: int) -> dict[Key, list[Lot]]:
    """The `size` lots of each key that follow those already found."""
    slices: dict[Key, list[Lot]] = {key: [] for key in found}
    keys = list(found)
    for start in range(0, len(keys), KEYS_PER_STATEMENT):
        some = keys[start : start + KEYS_PER_STATEMENT]
        after = (found[key][-1].pk if found[key] else 0 for key in some)
        values = [(*key, last, size) for key, last in zip(some, after, strict=True)]
        statement = " UNION ALL ".join([_slice_of_one_key()] * len(some))
        for lot in Lot.objects.raw(statement, [value for row in values for value in row]):
            slices[lot.account_id, lot.instrument_id].append(lot)
    return slices


def _slice_of_one_key() -> str:
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in Lot._meta.concrete_fields)
    # Left to itself, MariaDB walks a position's lots from the first, or everybody's by id.
    index = "FORCE INDEX (lot_fifo)" if connection.vendor == "mysql" else ""
    return (
        f"SELECT * FROM (SELECT {columns} FROM {quote(Lot._meta.db_table)} {index}"
        " WHERE account_id = %s AND instrument_id = %s AND id > %s ORDER BY id LIMIT %s) AS of_key"
    )


def write(*, opened: Sequence[Lot], reduced: Sequence[Lot], closed: Sequence[Lot]) -> None:
    """Insert, update and delete lots, in bulk."""
    insert_rows(opened)
    update_rows(reduced, ["quantity_left", "cost_left", "fee_left"])
    for start in range(0, len(closed), ROWS_PER_STATEMENT):
        some = closed[start : start + ROWS_PER_STATEMENT]
        Lot.objects.filter(pk__in=[lot.pk for lot in some]).delete()
