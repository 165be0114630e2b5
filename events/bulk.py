"""Many rows of one model, written in few statements and with little Python.

`QuerySet.bulk_create` and `bulk_update` build an expression object per value: for the rows of a
settlement that takes ten times as long as the database does. Here a model's columns are looked at
once, and a row becomes text in one pass.

Numbers, instants, UUIDs, single words and most JSON stand in the statement, which is what becomes
of a parameter anyway; any other value goes as a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

import orjson
from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models.base import ModelState

CHUNK = 200  # rows in one statement
UPDATED = 50  # the same for an update, which grows with rows × columns
PRIMARY_KEY = "id"
WRITTEN = object()  # instead of a value that was read, once another has been written
READ = "read"  # where a row that `reads.find_rows` made remembers what it read
WORD = re.compile(r"[A-Za-z0-9_.:/-]{0,80}")  # text that means itself in any statement

M = TypeVar("M", bound=models.Model)
Values = list[Any]  # the parameters of a statement
Write = Callable[[Any, Values], str]  # how a value stands in a statement
Column = tuple[str, str, Write]  # attribute, quoted name, and how its values are written
Held = dict[str, Any]  # a row's values by attribute


def new_row(model: type[M], /, **values: Any) -> M:
    """A new instance with these values of columns, made without running its constructor.

    Foreign keys are given by id (`account_id`), everything left out has its default.
    """
    constant, called = _defaults(model)
    held = constant.copy()  # at once, which key by key would take several times as long
    for attribute, default in called:
        if attribute not in values:
            held[attribute] = default()
    held.update(values)
    assert len(held) == len(constant), f"no such columns: {held.keys() - constant.keys()}"
    made = model.__new__(model)
    made.__dict__ = held
    made._state = ModelState()
    return made


def insert_rows(rows: Iterable[models.Model]) -> None:
    """Append new rows of one model. Keys that the database gives are not filled in."""
    for some in _chunks(rows, CHUNK):
        head, columns = _insertion(type(some[0]), _changing().vendor)
        values: Values = []
        texts = ", ".join([f"({_text(row, columns, values)})" for row in some])
        _execute(f"{head} {texts}", values)


def insert_row(row: models.Model) -> None:
    """Append one new row, and fill in the key that the database gives it."""
    head, columns = _insertion(type(row), _changing().vendor)
    values: Values = []
    text = _text(row, columns, values)
    _execute(f"{head} ({text})", values, row)


def _changing() -> Any:
    """The connection that rows are changed on: one look for it costs what a column does."""
    made = connections[DEFAULT_DB_ALIAS]
    assert made.in_atomic_block, "rows change in a transaction"
    return made


def update_rows(rows: Iterable[models.Model], fields: Sequence[str]) -> None:
    """Write these fields of rows of one model as they are in memory; the rows exist.

    By their keys and in no other way: an update that joins them may read, and lock, everybody's.
    A column that `reads.find_rows` has read, and that is since the same in every row, is left out,
    until it is written once.
    """
    for some in _chunks(rows, UPDATED):
        model, vendor = type(some[0]), _changing().vendor
        (attribute, key, write_key), *columns = named_columns(model, vendor, (PRIMARY_KEY, *fields))
        held = [row.__dict__ for row in some]
        columns = _changed(columns, held, [row._state.__dict__.get(READ) for row in some])
        if not columns:
            continue
        keys = [write_key(each[attribute], []) for each in held]
        values: Values = []
        assignments = ", ".join([_cases(held, keys, key, column, values) for column in columns])
        _execute(
            f"UPDATE {_table(model)} SET {assignments} WHERE {key} IN ({', '.join(keys)})", values
        )
        _forget([attribute for attribute, _, _ in columns], some)


def _changed(
    columns: list[Column], held: Sequence[Held], read: Sequence[Held | None]
) -> list[Column]:
    """The columns that some row has changed since it was read; all, where one was not."""
    pairs = [(now, before) for now, before in zip(held, read, strict=True) if before is not None]
    if len(pairs) < len(held):
        return columns
    return [column for column in columns if _has_changed(column, pairs)]


def _has_changed(column: Column, rows: Iterable[tuple[Held, Held]]) -> bool:
    attribute, _, write = column
    if write is _json:
        return True  # it can change in place, and would equal itself
    for now, before in rows:
        value, read = now[attribute], before.get(attribute, WRITTEN)
        if value is not read and value != read:
            return True
    return False


def _forget(attributes: Sequence[str], rows: Iterable[models.Model]) -> None:
    """What was read is no longer what is stored; nor need be what was written, if it is undone."""
    for row in rows:
        read = row._state.__dict__.get(READ)
        if read is not None:
            for attribute in attributes:
                read.pop(attribute, None)


def _cases(
    held: Sequence[Held], keys: Sequence[str], key: str, column: Column, values: Values
) -> str:
    attribute, name, write = column
    parameters = len(values)
    texts = [write(each[attribute], values) for each in held]
    if len(values) == parameters and len(set(texts)) == 1:
        return f"{name} = {texts[0]}"
    whens = " ".join([f"WHEN {each} THEN {text}" for each, text in zip(keys, texts, strict=True)])
    return f"{name} = CASE {key} {whens} ELSE {name} END"


def _chunks(rows: Iterable[models.Model], size: int) -> Iterator[list[models.Model]]:
    remaining = iter(rows)
    while some := list(islice(remaining, size)):
        yield some


@lru_cache
def _table(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


class Trip:
    """Statements that go to the database together, in their order."""

    def __init__(self) -> None:
        self._statements: list[str] = []
        self._values: Values = []
        self._rows: list[models.Model | None] = []  # what each inserts, where its key is wanted

    def add(self, statement: str, values: Values, row: models.Model | None) -> None:
        self._statements.append(statement)
        self._values += values
        self._rows.append(row)

    def send(self) -> None:
        """Send what was gathered, for its keys are needed now."""
        if not self._statements:
            return
        statements, values, rows = "; ".join(self._statements), self._values, self._rows
        self._statements, self._values, self._rows = [], [], []
        made = connections[DEFAULT_DB_ALIAS]
        with made.cursor() as cursor:
            cursor.execute(statements, values)
            for number, row in enumerate(rows):
                if number:
                    cursor.nextset()
                if row is not None:
                    row.pk = cursor.lastrowid
                    row._state.adding, row._state.db = False, made.alias


_trip: ContextVar[Trip | None] = ContextVar("trip", default=None)


@contextmanager
def one_trip() -> Iterator[Trip]:
    """Gather what this module writes meanwhile, and send it as one at the end.

    Rows have their keys only then. SQLite, where a trip costs nothing, takes one statement at a
    time and gathers nothing.
    """
    trip = Trip()
    before = _trip.set(trip if connection.vendor == "mysql" else None)
    try:
        yield trip
        trip.send()
    finally:
        _trip.reset(before)


def _execute(statement: str, values: Values, row: models.Model | None = None) -> None:
    trip = _trip.get()
    if trip is not None:
        trip.add(statement, values, row)
        return
    alone = Trip()
    alone.add(statement, values, row)
    alone.send()


def _text(row: models.Model, columns: Sequence[Column], values: Values) -> str:
    held = row.__dict__
    return ", ".join([write(held[attribute], values) for attribute, _, write in columns])


@lru_cache
def _defaults(model: type[models.Model]) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """The defaults of all columns, and the functions that make those which are made anew."""
    fields = model._meta.concrete_fields
    made = [each for each in fields if each.has_default() and callable(each.default)]
    called = [(each.attname, each.get_default) for each in made]
    made_anew = {attribute for attribute, _ in called}
    constant = {
        each.attname: None if each.attname in made_anew else each.get_default() for each in fields
    }
    return constant, called


# --- how each kind of field is written ----------------------------------------------------------


@lru_cache
def _insertion(model: type[models.Model], vendor: str) -> tuple[str, list[Column]]:
    """How a statement begins that inserts rows of the model, and the columns that it names."""
    fields: list[Any] = list(model._meta.concrete_fields)
    columns = [_column(field) for field in fields if not isinstance(field, models.AutoField)]
    names = ", ".join(name for _, name, _ in columns)
    return f"INSERT INTO {_table(model)} ({names}) VALUES", columns


@lru_cache
def named_columns(model: type[models.Model], vendor: str, names: tuple[str, ...]) -> list[Column]:
    """These columns, by field or attribute."""
    fields = {each.name: each for each in model._meta.concrete_fields}
    fields |= {each.attname: each for each in model._meta.concrete_fields}
    return [_column(fields[name]) for name in names]


def _column(field: Any) -> Column:
    target = field.target_field if field.is_relation else field
    return field.attname, connection.ops.quote_name(field.column), _writer(target)


def _writer(field: Any) -> Write:
    if isinstance(field, models.BooleanField) or _is_whole(field):
        return _number
    if hasattr(field, "writer"):  # a scaled amount, which is stored as an integer
        return field.writer()
    return WRITERS.get(type(field)) or _saved_by(field)


def _is_whole(field: Any) -> bool:
    usual = models.IntegerField.get_prep_value
    return isinstance(field, models.IntegerField) and type(field).get_prep_value is usual


def _number(value: int | bool | None, _: Values) -> str:
    return "NULL" if value is None else str(int(value))


def _instant(value: datetime | None, _: Values) -> str:
    return "NULL" if value is None else _stored_instant(value)


@lru_cache(4096)  # the same few instants stand in all rows of a batch
def _stored_instant(value: datetime) -> str:
    """As Django stores it: UTC, without saying so."""
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return f"'{value.replace(tzinfo=None).isoformat(' ')}'"


def _date(value: date | None, _: Values) -> str:
    return "NULL" if value is None else f"'{value.isoformat()}'"


def _uuid(value: UUID | None, _: Values) -> str:
    """Without hyphens, which MariaDB's own type of column does not ask for."""
    return "NULL" if value is None else f"'{value.hex}'"


def _word(value: str | None, values: Values) -> str:
    quoted = _quoted(value)
    if quoted:
        return quoted
    values.append(str(value))
    return "%s"


@lru_cache(4096)
def _quoted(text: str | None) -> str:
    """The text as a literal; "" where it is more than a word."""
    if text is None:
        return "NULL"
    return f"'{text}'" if WORD.fullmatch(text) else ""


def _json(value: Any, values: Values) -> str:
    if value is None:
        return "NULL"
    text = orjson.dumps(value).decode()
    if "'" in text or "\\" in text or "%" in text:
        values.append(text)
        return "%s"
    return f"'{text}'"  # whoever reads the statement sees nothing but text in it


def _saved_by(field: Any) -> Write:
    """Any other field saves as it always does."""

    def write(value: Any, values: Values) -> str:
        values.append(field.get_db_prep_save(value, connection))
        return "%s"

    return write


WRITERS: dict[type[models.Field[Any, Any]], Write] = {
    models.DateTimeField: _instant,
    models.DateField: _date,
    models.CharField: _word,
    models.UUIDField: _uuid,
    models.JSONField: _json,
}
