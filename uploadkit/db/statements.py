"""Rows of the hot path, read and inserted with SQL that is put together once for each model.

peewee builds the text of a statement anew each time, which costs more than all else that a request for an upload does
(docs/performance.md). Everything that is not asked for in each upload goes through peewee as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeVar

import orjson
from peewee import BooleanField, DoesNotExist, JSONField

from uploadkit.db.connection import execute
from uploadkit.db.models import Table

Row = TypeVar("Row", bound=Table)
_Field = tuple[str, str, Callable[[Any], Any] | None]


def find(model: type[Row], condition: str, *values: object) -> Row | None:
    """Return the one row of `model` that `condition` is true of, or None. `condition` is SQL with a `?` for each of `values`."""
    found = execute(f"{_select(model)} WHERE {condition}", values).fetchone()
    if found is None:
        return None
    row = model(__no_default__=True)
    for (name, _, read), value in zip(_fields(model), found, strict=True):
        row.__data__[name] = value if read is None or value is None else read(value)
    row._dirty.clear()  # type: ignore[attr-defined]
    return row


def get(model: type[Row], row_id: str) -> Row:
    """Return the row of `model` with this id. Raises peewee.DoesNotExist."""
    row = find(model, "id = ?", row_id)
    if row is None:
        raise DoesNotExist(f"{model.__name__} {row_id}")
    return row


def new(model: type[Row], **values: Any) -> Row:
    """Return a row of `model` with its defaults and `values`, by field. It is not in the database yet."""
    row = model(__no_default__=True)
    row.__data__ = {name: default() for name, default in _defaults(model)} | values
    return row


def insert(row: Table) -> None:
    """Insert `row` with all of its columns, in the caller's write transaction. Raises peewee.IntegrityError."""
    sql, names, in_json = _insert(type(row))
    values = [row.__data__.get(name) for name in names]
    for place in in_json:
        if values[place] is not None:
            values[place] = orjson.dumps(values[place]).decode()
    execute(sql, values)


@cache
def _fields(model: type[Table]) -> tuple[_Field, ...]:
    """Name, column and what makes a Python value of it, of each field."""
    return tuple((field.name, field.column_name, _reader(field)) for field in model._meta.sorted_fields)


def _reader(field: object) -> Callable[[Any], Any] | None:
    if isinstance(field, JSONField):
        return orjson.loads
    return bool if isinstance(field, BooleanField) else None


@cache
def _select(model: type[Table]) -> str:
    columns = ", ".join(f'"{column}"' for _, column, _ in _fields(model))
    return f'SELECT {columns} FROM "{model._meta.table_name}"'  # noqa: S608


@cache
def _insert(model: type[Table]) -> tuple[str, tuple[str, ...], tuple[int, ...]]:
    """The statement, the names of the fields whose values it takes, and which of these are written as JSON."""
    fields = _fields(model)
    columns = ", ".join(f'"{column}"' for _, column, _ in fields)
    sql = f'INSERT INTO "{model._meta.table_name}" ({columns}) VALUES ({", ".join("?" for _ in fields)})'  # noqa: S608
    return sql, tuple(name for name, *_ in fields), tuple(place for place, (*_, read) in enumerate(fields) if read is orjson.loads)


@cache
def _defaults(model: type[Table]) -> tuple[tuple[str, Callable[[], Any]], ...]:
    given = ((field.name, field.default) for field in model._meta.sorted_fields if field.default is not None)
    return tuple((name, default if callable(default) else partial(_same, default)) for name, default in given)


def _same(value: object) -> object:
    return value
