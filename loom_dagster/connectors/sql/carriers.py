"""Values on their way into a staging table: a few plain types that carry every value without loss.

Staging never judges a value: whether it fits its column is found when rows are merged, row by row if it
must be. What has no plain type of its own travels as the text that the database reads.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from loom_dagster.connectors.plain import plain_columns, unpacked
from loom_dagster.connectors.sql.column_types import value_family
from loom_dagster.records import to_json

__all__ = ["carried", "carrier_type", "driver_rows", "staged_type"]

_AS_THEY_ARE = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "binary": pa.large_binary(),
}


def carrier_type(kind: pa.DataType, dialect: str) -> pa.DataType:
    """The plain type that carries values of an Arrow type."""
    plain = unpacked(kind)
    family = value_family(plain)
    if family in _AS_THEY_ARE:
        return _AS_THEY_ARE[family]
    if dialect == "postgresql" and family == "date":
        return pa.date32()
    if dialect == "postgresql" and family == "timestamp":
        return pa.timestamp("us", "UTC" if plain.tz else None)
    return pa.large_string()


def staged_type(carrier: pa.DataType, dialect: str, collation: str | None = None) -> TypeEngine[Any]:
    """The type of its column in the staging table; ``collation``: that of the column it is compared with."""
    if carrier == pa.large_string():
        if dialect != "mysql":
            return sa.Text()
        return mysql.LONGTEXT(charset="utf8mb4", collation=collation)
    if carrier == pa.large_binary():
        return mysql.LONGBLOB() if dialect == "mysql" else sa.LargeBinary()
    if pa.types.is_timestamp(carrier):
        return sa.TIMESTAMP(timezone=carrier.tz is not None)
    if carrier == pa.bool_():
        return sa.Boolean(create_constraint=False)
    numbers: dict[pa.DataType, TypeEngine[Any]] = {pa.int64(): sa.BigInteger(), pa.float64(): sa.Double()}
    return numbers.get(carrier, sa.Date())


def carried(batch: pa.RecordBatch, dialect: str) -> list[pa.Array]:
    """The columns of a batch as their carriers."""
    return [_carried(column, carrier_type(column.type, dialect)) for column in batch.columns]


def _carried(column: pa.Array, carrier: pa.DataType) -> pa.Array:
    plain = unpacked(column.type)
    if column.type != plain:
        column = pc.cast(column, plain)
    family = value_family(plain)
    if family == "null":
        return pa.nulls(len(column), carrier)
    if family == "timestamp":  # to microseconds; a text shows UTC's clock
        column = pc.cast(column, pa.timestamp("us", plain.tz), safe=False)
        if carrier == pa.large_string():
            column = pc.cast(column, pa.int64()).cast(pa.timestamp("us"))
    elif family == "json":
        [values] = plain_columns(pa.record_batch([column], names=["x"]))
        return pa.array([None if v is None else to_json(v).decode() for v in values], carrier)
    if column.type == carrier:
        return column
    try:
        return pc.cast(column, carrier)
    except pa.ArrowException:  # intervals, bytes of a fixed size
        values = column.to_pylist()
        if carrier == pa.large_string():
            values = [None if v is None else str(v) for v in values]
        return pa.array(values, carrier)


def driver_rows(columns: list[pa.Array]) -> list[tuple[Any, ...]]:
    """Carried columns as rows of Python values."""
    return list(zip(*(column.to_pylist() for column in columns), strict=True))
