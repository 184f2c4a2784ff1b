"""PostgreSQL's types as Arrow's: how each column is selected, and which of its values Arrow cannot hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from loom_dagster.connectors.sql.selection import ROWS

__all__ = ["PostgresColumn", "postgres_column", "selected"]

_PLAIN: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "bpchar": pa.string(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "name": pa.string(),
    "text": pa.string(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "varchar": pa.string(),
}
_ENDLESS = frozenset({"date", "timestamp", "timestamptz"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresColumn:
    """``cast``: what it is converted into by the server; ``unheld``: SQL that is true where its value, called
    ``{}``, cannot be held."""

    name: str
    type: pa.DataType
    cast: str | None = None
    unheld: str | None = None


def postgres_column(field: pa.Field) -> PostgresColumn:
    """A column as the driver describes it. What Arrow has no type for becomes text."""
    told = field.metadata or {}
    kind = told.get(b"POSTGRESQL:type", b"").decode()
    if kind in _PLAIN:
        unheld = "NOT isfinite({})" if kind in _ENDLESS else None
        return PostgresColumn(name=field.name, type=_PLAIN[kind], unheld=unheld)
    if kind == "oid":
        return PostgresColumn(name=field.name, type=pa.int64(), cast="bigint")
    if kind == "numeric":
        return _numeric(field.name, int(told.get(b"POSTGRESQL:typmod", b"-1")))
    if kind.startswith("_") and pa.types.is_list(field.type):
        return _array(field.name, kind[1:])
    return PostgresColumn(name=field.name, type=pa.string(), cast="text")


def selected(columns: Sequence[PostgresColumn]) -> list[sa.ColumnElement[Any]]:
    """What is selected for ``columns``, and after them a text: null, or for a row that cannot be
    held the number of the column and the row as JSON."""
    found: list[sa.ColumnElement[Any]] = []
    unheld: list[str] = []
    for at, column in enumerate(columns):
        value = f"{ROWS}.{_quoted(column.name)}"
        if column.unheld:
            test = column.unheld.format(value)
            unheld.append(f"WHEN {test} THEN '{at} ' || CAST(to_jsonb({ROWS}) AS text)")
            value = f"CASE WHEN {test} THEN NULL ELSE {value} END"
        if column.cast:
            value = f"CAST({value} AS {column.cast})"
        found.append(sa.literal_column(value).label(f"c{at}"))
    marker = f"CASE {' '.join(unheld)} END" if unheld else "NULL"
    return [*found, sa.literal_column(f"CAST({marker} AS text)").label("unheld")]


def _numeric(name: str, modifier: int) -> PostgresColumn:
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, modifier - 4 & 0x7FF
    if (
        modifier < 4 or precision > 38 or scale > precision
    ):  # of no or of a rare size: as text, which is exact
        return PostgresColumn(name=name, type=pa.string(), cast="text")
    kind = pa.decimal128(precision, scale)
    return PostgresColumn(name=name, type=kind, cast="text", unheld="{} = 'NaN'")


def _array(name: str, kind: str) -> PostgresColumn:
    unheld = "array_ndims({0}) > 1"
    if kind in _ENDLESS:
        unheld = "({0} && ARRAY['infinity', '-infinity']::" + kind + "[] OR " + unheld + ")"
    if kind in _PLAIN:
        return PostgresColumn(name=name, type=pa.list_(_PLAIN[kind]), unheld=unheld)
    return PostgresColumn(name=name, type=pa.list_(pa.string()), cast="text[]", unheld=unheld)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
