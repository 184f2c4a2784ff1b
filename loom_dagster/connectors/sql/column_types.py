"""Which SQL type an Arrow column gets where a table is made, and which columns take which values."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

from loom_dagster.connectors.plain import unpacked

__all__ = ["column_family", "column_type", "fits", "value_family"]

_KEY_LENGTH = 255  # characters, or bytes: MySQL indexes no text without a length
_FAMILIES: tuple[tuple[Any, str], ...] = (
    (pa.types.is_null, "null"),
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_uint64, "decimal"),  # beyond the integers of SQL
    (pa.types.is_integer, "integer"),
    (pa.types.is_floating, "float"),
    (pa.types.is_decimal, "decimal"),
    (pa.types.is_date, "date"),
    (pa.types.is_timestamp, "timestamp"),
    (pa.types.is_time, "time"),
    (pa.types.is_binary, "binary"),
    (pa.types.is_large_binary, "binary"),
    (pa.types.is_fixed_size_binary, "binary"),
    (pa.types.is_nested, "json"),
)
_COLUMNS: tuple[tuple[Any, str], ...] = (
    (sa.Boolean, "boolean"),
    (sa.Integer, "integer"),
    (sa.Float, "float"),
    (sa.Numeric, "decimal"),
    (sa.JSON, "json"),
    (sa.Enum, "other"),
    (sa.String, "text"),
    (sa.types._Binary, "binary"),  # noqa: SLF001 - what BYTEA, BLOB and BINARY have in common has no other name
    (sa.DateTime, "timestamp"),
    (sa.Date, "date"),
    (sa.Time, "time"),
)
# What a database makes of values without losing anything but what does not fit, row by row. JSON knows no
# dates: a column of dates takes texts that are some. `other`: UUID, enumerations and the like, spelled as text.
_FITS = {
    "boolean": {"boolean"},
    "integer": {"integer", "decimal", "float"},
    "decimal": {"decimal"},
    "float": {"float", "decimal"},
    "text": {"text", "json", "other", "date", "timestamp", "time"},
    "binary": {"binary"},
    "date": {"date", "timestamp"},
    "timestamp": {"timestamp"},
    "time": {"time"},
    "json": {"json", "text"},
}
_FITS_TOO = {
    "mysql": {"boolean": {"integer"}},  # its BOOLEAN is one
    "sqlite": {"boolean": {"integer"}, **{k: {"text"} for k in ("date", "timestamp", "time", "decimal")}},
}


def value_family(kind: pa.DataType) -> str:
    """What values of an Arrow type are: integer, text, json, ...; `null` where the type is not known."""
    plain = unpacked(kind)
    return next((name for test, name in _FAMILIES if test(plain)), "text")


def column_family(kind: TypeEngine[Any]) -> str:
    """The same of a column that is there."""
    return next((name for test, name in _COLUMNS if isinstance(kind, test)), "other")


def fits(values: str, column: str, dialect: str) -> bool:
    """Whether a column takes such values without a change of its type."""
    if values in ("null", column) or (dialect == "sqlite" and column == "other"):
        return True
    return column in _FITS[values] or column in _FITS_TOO.get(dialect, {}).get(values, ())


def column_type(kind: pa.DataType, dialect: str, *, key_collation: str | None = None) -> TypeEngine[Any]:
    """The type of a new column; of one of the key with ``key_collation``, for texts in MySQL. Timestamps are UTC."""
    plain = unpacked(kind)
    family = value_family(plain)
    if dialect == "mysql" and key_collation and family in ("text", "json"):
        return mysql.VARCHAR(_KEY_LENGTH, charset="utf8mb4", collation=key_collation)
    if dialect == "mysql" and key_collation and family == "binary":
        return mysql.VARBINARY(_KEY_LENGTH)
    match family:
        case "boolean":
            return sa.Boolean()
        case "integer":
            return sa.Integer() if plain.bit_width < 32 or plain == pa.int32() else sa.BigInteger()
        case "float":
            return sa.Double()
        case "decimal":
            return _decimal(plain, dialect)
        case "date":
            return sa.Date()
        case "timestamp":
            return (
                mysql.DATETIME(fsp=6) if dialect == "mysql" else sa.TIMESTAMP(timezone=plain.tz is not None)
            )
        case "time":
            return mysql.TIME(fsp=6) if dialect == "mysql" else sa.Time()
        case "binary":
            return mysql.LONGBLOB() if dialect == "mysql" else sa.LargeBinary()
        case "json":
            return postgresql.JSONB() if dialect == "postgresql" else sa.JSON()
    return mysql.LONGTEXT(charset="utf8mb4") if dialect == "mysql" else sa.Text()


def _decimal(kind: pa.DataType, dialect: str) -> TypeEngine[Any]:
    precision, scale = (kind.precision, kind.scale) if pa.types.is_decimal(kind) else (20, 0)
    if dialect == "sqlite" and precision > 15:  # its numbers have no more digits
        return sa.Text()
    if dialect == "mysql":
        precision, scale = min(precision, 65), min(scale, 30)
    return sa.Numeric(precision, max(scale, 0))
