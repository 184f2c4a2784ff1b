"""Values as a driver gives them, row by row, as Arrow columns. A row that does not fit is kept apart, whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from loom_dagster.connectors.contract import Chunk, Scalar, Unreadable
from loom_dagster.connectors.sql.selection import Selection
from loom_dagster.records import to_json

__all__ = ["Column", "Dialect", "chunk_of", "first_rows", "in_utc", "inferred", "text_of"]

_FIRST = 1000  # rows that tell the types of a database without a dialect here
_UNFIT = (pa.ArrowException, ValueError, TypeError, OverflowError, ArithmeticError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """``value`` makes of what the driver gives (never None) what Arrow takes for ``type``; it raises ValueError or
    TypeError for what is no such value."""

    name: str
    type: pa.DataType
    value: Callable[[Any], Any] | None = None

    def array(self, values: Sequence[Any]) -> pa.Array:
        if self.value is not None:
            values = [None if value is None else self.value(value) for value in values]
        return pa.array(values, self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a kind of database wants otherwise: ``session``: statements at the start of a connection; ``columns``: what
    a selection has, asked of a connection with the values to bind; ``value``: a value as its driver binds it."""

    columns: Callable[[sa.Connection, Selection, Mapping[str, Any]], list[Column]]
    session: tuple[str, ...] = ()
    value: Callable[[Scalar], Any] = lambda value: value


def chunk_of(rows: Sequence[Sequence[Any]], columns: Sequence[Column]) -> Chunk:
    """``rows`` in order; those that do not fit as unreadable ones."""
    schema = pa.schema([pa.field(column.name, column.type) for column in columns])
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    reasons: dict[int, str] = {}
    arrays = []
    for column, found in zip(columns, values, strict=True):
        try:
            arrays.append(column.array(found))
        except _UNFIT:
            reasons = _unfit(column, found) | reasons
    if not reasons:
        return Chunk(table=pa.RecordBatch.from_arrays(arrays, schema=schema))
    fit = [row for at, row in enumerate(rows) if at not in reasons]
    names = schema.names
    unreadable = [
        Unreadable(offset=at, raw=_raw(dict(zip(names, rows[at], strict=True))), reason=reasons[at])
        for at in sorted(reasons)
    ]
    return Chunk(table=chunk_of(fit, columns).table, unreadable=unreadable)


def inferred(name: str, values: Sequence[Any]) -> Column:
    """A column of which nothing is known but its first ``values``."""
    try:
        kind = pa.array(values).type
    except _UNFIT:
        kind = pa.null()
    if pa.types.is_decimal(kind):  # another value may have more digits
        kind = pa.null()
    if pa.types.is_null(kind) or pa.types.is_string(kind):
        return Column(name=name, type=pa.string(), value=text_of)
    return Column(name=name, type=kind)


def first_rows(connection: sa.Connection, selection: Selection, values: Mapping[str, Any]) -> list[Column]:
    """The columns of a database of which nothing else is known: what its first rows hold."""
    statement = selection.statement((), limit=_FIRST) if selection.query is None else selection.plain()
    result = connection.execute(statement, dict(values))
    names, rows = list(result.keys()), result.fetchmany(_FIRST)
    result.close()
    return [inferred(name, [row[at] for row in rows]) for at, name in enumerate(names)]


def in_utc(value: datetime) -> datetime:
    """Without its zone, for databases whose values have none: they mean UTC."""
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def text_of(value: Any) -> str:
    """Of a value that is text, a number or something of the driver's own. Raises TypeError for bytes."""
    if isinstance(value, bytes):
        raise TypeError("bytes are no text")
    return value if isinstance(value, str) else str(value)


def _unfit(column: Column, values: Sequence[Any]) -> dict[int, str]:
    found = {}
    for at, value in enumerate(values):
        try:
            column.array([value])
        except _UNFIT:
            shown = value[:40] if isinstance(value, str | bytes) else value
            found[at] = f"column `{column.name}` holds {shown!r}, which is not of its type {column.type}"
    return found


def _raw(row: dict[str, Any]) -> str:
    return to_json({name: _shown(value) for name, value in row.items()}).decode()


def _shown(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
