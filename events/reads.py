"""Rows found by their columns, read whole, with little Python: the counterpart of `bulk`.

A `QuerySet` builds its statement anew each time, converts each value through several functions and
runs the constructor of a wide model. Here what is known of a model is looked up once, and a value
is converted by one function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models.base import ModelState

from events.bulk import READ, named_columns

M = TypeVar("M", bound=models.Model)
Convert = Callable[[Any], Any]


class Asked(Protocol):
    """One statement of a trip, and what is made of its answer."""

    @property
    def is_for_nothing(self) -> bool:
        """Whether there is no need to ask."""
        ...

    def statement(self, connection: Any, values: list[Any]) -> str:
        """What is asked; appends to the parameters."""
        ...

    def answer(self, rows: Sequence[Any], count: int, using: str) -> list[Any]:
        """What is made of the rows that it found, or of the count of those that it changed."""
        ...


class Wanted(Generic[M]):
    """Rows of a model whose columns have these values; where a set is given, one of these.

    Where there is an `either`, each is such columns with values, of which one must hold too: so
    pairs can be asked for without asking for each first with each second.
    With `lock` they are locked, in the order of their ids, until the transaction ends; with
    `skip_locked` those that somebody else has locked are left out.
    """

    def __init__(
        self,
        model: type[M],
        *,
        either: Sequence[Mapping[str, Any]] = (),
        lock: bool = False,
        skip_locked: bool = False,
        **columns: Any,
    ) -> None:
        self.model = model
        self.lock = lock
        self.skip_locked = skip_locked
        self.columns = columns
        self.either = either

    @property
    def is_for_nothing(self) -> bool:
        return any(isinstance(value, set) and not value for value in self.columns.values())

    def statement(self, connection: Any, values: list[Any]) -> str:
        """What asks for them; appends to the parameters."""
        assert connection.in_atomic_block or not self.lock, "a lock lives in a transaction"
        head, order, _, _ = _known(self.model, connection.alias)
        vendor = connection.vendor
        found = [_condition(self.model, vendor, self.columns, values)] if self.columns else []
        if self.either:
            each = [_condition(self.model, vendor, columns, values) for columns in self.either]
            found.append(f"({' OR '.join(each)})")
        statement = f"{head} WHERE {' AND '.join(found)}{order}"
        if self.lock and connection.features.has_select_for_update:
            statement += " FOR UPDATE SKIP LOCKED" if self.skip_locked else " FOR UPDATE"
        return statement

    def answer(self, rows: Sequence[Any], count: int, using: str) -> list[M]:
        """The model's rows of what the database answered."""
        _, _, names, converts = _known(self.model, using)
        return [_made(self.model, using, names, converts, row) for row in rows]


def find_rows(model: type[M], *, using: str = DEFAULT_DB_ALIAS, **wanted: Any) -> list[M]:
    """The rows that `Wanted` describes, by id, from the primary unless told otherwise."""
    return _find(Wanted(model, **wanted), using)


def find_together(*wanted: Asked, using: str = DEFAULT_DB_ALIAS) -> list[list[Any]]:
    """The rows of each, asked for in this order, in one trip where there is a server to go to."""
    connection = connections[using]
    if connection.vendor != "mysql" or any(each.is_for_nothing for each in wanted):
        return [_find(each, using) for each in wanted]
    values: list[Any] = []
    statements = "; ".join([each.statement(connection, values) for each in wanted])
    answers: list[tuple[Sequence[Any], int]] = []
    with connection.cursor() as cursor:
        cursor.execute(statements, values)
        for _ in wanted:
            if answers:
                cursor.nextset()
            answers.append((cursor.fetchall(), cursor.rowcount))
    return [each.answer(*answer, using) for each, answer in zip(wanted, answers, strict=True)]


def _find(wanted: Asked, using: str) -> list[Any]:
    if wanted.is_for_nothing:
        return []
    values: list[Any] = []
    connection = connections[using]
    statement = wanted.statement(connection, values)
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return wanted.answer(cursor.fetchall(), cursor.rowcount, using)


def _condition(
    model: type[models.Model], vendor: str, columns: Mapping[str, Any], values: list[Any]
) -> str:
    """That the columns have these values; appends to the parameters."""
    return " AND ".join(
        f"{name} IN ({', '.join([write(each, values) for each in sorted(value)])})"
        if isinstance(value := columns[attribute], set)
        else f"{name} = {write(value, values)}"
        for attribute, name, write in named_columns(model, vendor, tuple(columns))
    )


def _made(
    model: type[M], alias: str, names: list[str], converts: list[tuple[int, Convert]], row: Any
) -> M:
    values = list(row)
    for place, convert in converts:
        value = values[place]
        if value is not None:
            values[place] = convert(value)
    read = dict(zip(names, values, strict=False))  # to ask costs nearly as much again
    made = model.__new__(model)
    made.__dict__ = read.copy()
    made._state = state = ModelState()
    state.adding, state.db = False, alias
    state.__dict__[READ] = read
    return made


@lru_cache
def _known(
    model: type[models.Model], alias: str
) -> tuple[str, str, list[str], list[tuple[int, Convert]]]:
    """The statement up to its conditions and after them, the attributes, and what converts them,
    by place."""
    connection = connections[alias]
    quote, table = connection.ops.quote_name, model._meta.db_table
    fields = model._meta.concrete_fields
    columns = ", ".join(quote(str(field.column)) for field in fields)
    converts = [(place, _convert(field, table, alias)) for place, field in enumerate(fields)]
    return (
        f"SELECT {columns} FROM {quote(table)}",
        f" ORDER BY {quote(str(model._meta.pk.column))}",
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
