"""Changing many rows in one statement.

`QuerySet.bulk_update` builds the same statement out of an expression object per value, which for
the wide rows of settlement takes fifty times as long as the database does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import connection, models, transaction

CHUNK = 50  # rows in one statement, which grows with rows × columns


def update_rows(rows: Iterable[models.Model], fields: Sequence[str]) -> None:
    """Write these fields of rows of one model as they are in memory; the rows exist."""
    assert transaction.get_connection().in_atomic_block, "rows change in a transaction"
    changed = list(rows)
    for start in range(0, len(changed), CHUNK):
        _update(changed[start : start + CHUNK], fields)


def _update(rows: Sequence[models.Model], names: Sequence[str]) -> None:
    meta = rows[0]._meta
    quote: Callable[[Any], str] = connection.ops.quote_name
    key = quote(meta.pk and meta.pk.column)
    whens = "WHEN %s THEN %s " * len(rows)
    assignments: list[str] = []
    values: list[Any] = []
    fields: list[Any] = [meta.get_field(name) for name in names]
    for field in fields:
        column = quote(field.column)
        assignments.append(f"{column} = CASE {key} {whens}ELSE {column} END")
        for row in rows:
            value = getattr(row, field.attname)
            values += (row.pk, field.get_db_prep_save(value, connection))
    keys = [row.pk for row in rows]
    places = ", ".join(["%s"] * len(keys))
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {quote(meta.db_table)} SET {', '.join(assignments)} WHERE {key} IN ({places})",
            [*values, *keys],
        )
