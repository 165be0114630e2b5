"""Rows found by their columns, read whole, with little Python: the counterpart of `bulk`.

A `QuerySet` builds its statement anew each time, converts each value through several functions and
runs the constructor of a wide model. Here what is known of a model is looked up once, and a value
is converted by one function.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, TypeVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models.base import ModelState

from events.bulk import READ, named_columns

M = TypeVar("M", bound=models.Model)
Convert = Callable[[Any], Any]


def find_rows(
    model: type[M],
    *,
    using: str = DEFAULT_DB_ALIAS,
    lock: bool = False,
    skip_locked: bool = False,
    **wanted: Any,
) -> list[M]:
    """The rows whose columns have these values; where a set is given, one of these.

    By id, from the primary unless told otherwise. With `lock` they are locked in that order until
    the transaction ends; with `skip_locked` those that somebody else has locked are left out.
    """
    connection = connections[using]
    assert connection.in_atomic_block or not lock, "a lock lives in a transaction"
    if any(isinstance(value, set) and not value for value in wanted.values()):
        return []
    head, names, converts = _known(model, using)
    columns = named_columns(model, connection.vendor, tuple(wanted))
    values: list[Any] = []
    found = " AND ".join(
        f"{name} IN ({', '.join([write(each, values) for each in sorted(wanted[attribute])])})"
        if isinstance(wanted[attribute], set)
        else f"{name} = {write(wanted[attribute], values)}"
        for attribute, name, write in columns
    )
    key = connection.ops.quote_name(str(model._meta.pk.column))
    statement = f"{head} WHERE {found} ORDER BY {key}"
    if lock and connection.features.has_select_for_update:
        statement += " FOR UPDATE SKIP LOCKED" if skip_locked else " FOR UPDATE"
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [_made(model, using, names, converts, row) for row in cursor.fetchall()]


def _made(
    model: type[M], alias: str, names: list[str], converts: list[tuple[int, Convert]], row: Any
) -> M:
    values = list(row)
    for place, convert in converts:
        value = values[place]
        if value is not None:
            values[place] = convert(value)
    read = dict(zip(names, values, strict=True))
    made = model.__new__(model)
    made.__dict__.update(read)
    made._state = state = ModelState()
    state.adding, state.db = False, alias
    state.__dict__[READ] = read
    return made


@lru_cache
def _known(
    model: type[models.Model], alias: str
) -> tuple[str, list[str], list[tuple[int, Convert]]]:
    """The statement up to its conditions, the attributes, and what converts them, by place."""
    connection = connections[alias]
    quote, table = connection.ops.quote_name, model._meta.db_table
    fields = model._meta.concrete_fields
    columns = ", ".join(quote(str(field.column)) for field in fields)
    converts = [(place, _convert(field, table, alias)) for place, field in enumerate(fields)]
    return (
        f"SELECT {columns} FROM {quote(table)}",
        [field.attname for field in fields],
        [(place, convert) for place, convert in converts if convert is not None],
    )


def _convert(field: Any, table: str, alias: str) -> Convert | None:
    """What makes a value of the database one of Python; None where it is one already."""
    connection = connections[alias]
    if hasattr(field, "from_stored"):  # a scaled amount, which is stored as an integer
        return field.from_stored()
    if connection.vendor == "mysql":
        if type(field) is models.DateTimeField:
            return _aware
        if type(field) is models.UUIDField:
            return UUID
        if type(field) is models.BooleanField:
            return bool
    expression = field.get_col(table)
    chain = connection.ops.get_db_converters(expression) + expression.get_db_converters(connection)
    if len(chain) == 1 and hasattr(field, "from_db_value"):
        return partial(_of_field, field.from_db_value, expression)
    return partial(_converted, chain, expression, alias) if chain else None


def _of_field(convert: Callable[..., Any], expression: Any, value: Any) -> Any:
    return convert(value, expression, None)  # no field of ours asks which database it comes from


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC)


def _converted(chain: list[Any], expression: Any, alias: str, value: Any) -> Any:
    connection = connections[alias]
    for convert in chain:
        value = convert(value, expression, connection)
    return value
