"""MySQL's and MariaDB's types as Arrow's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from loom_dagster.connectors.contract import Scalar
from loom_dagster.connectors.sql.columns import Column, Dialect, first_rows, in_utc, text_of
from loom_dagster.connectors.sql.selection import Selection

__all__ = ["MYSQL"]

_UNSIGNED, _BINARY = 32, 63  # a flag; a character set that is none
_TWICE = 1060  # the error for two columns of one name
_INTEGERS = {1: pa.int16(), 2: pa.int32(), 3: pa.int64(), 8: pa.int64(), 9: pa.int32(), 13: pa.int32()}
_FLOATS = frozenset({4, 5})
_TEXTS = frozenset({15, 249, 250, 251, 252, 253, 254})
_DECIMALS = frozenset({0, 246})


def _columns(connection: sa.Connection, selection: Selection, values: Mapping[str, Any]) -> list[Column]:
    try:
        result = connection.execute(selection.statement((), limit=0), dict(values))
    except DBAPIError as error:
        number, said = (*getattr(error.orig, "args", ()), "", "")[:2]
        if number != _TWICE:
            raise
        name = str(said).partition("'")[2].rpartition("'")[0]  # whoever asks refuses them
        return [Column(name=name, type=pa.string())] * 2
    # what PyMySQL calls a description lacks what tells bytes from text and a sign from none
    fields = getattr(getattr(result.cursor, "_result", None), "fields", None)
    result.close()
    if fields is None:  # another driver
        return first_rows(connection, selection, values)
    return [_column(field) for field in fields]


def _column(field: Any) -> Column:
    name, kind = field.name, field.type_code
    unsigned = bool(field.flags & _UNSIGNED)
    if kind == 1 and field.length == 1 and not unsigned:
        return Column(name=name, type=pa.bool_(), value=_boolean)
    if kind in _INTEGERS:
        wide = pa.uint64() if kind == 8 and unsigned else _INTEGERS[kind]
        return Column(name=name, type=wide)
    if kind in _FLOATS:
        return Column(name=name, type=pa.float64())
    if kind in _DECIMALS:
        digits = field.length - (field.scale > 0) - (not unsigned)
        if digits > 38:
            return Column(name=name, type=pa.string(), value=text_of)
        return Column(name=name, type=pa.decimal128(max(digits, field.scale, 1), field.scale))
    if kind in (10, 14):
        return Column(name=name, type=pa.date32(), value=_date)
    if kind in (12, 18):
        return Column(name=name, type=pa.timestamp("us"), value=_moment)
    if kind in (7, 17):  # an instant; the session speaks UTC
        return Column(name=name, type=pa.timestamp("us", "UTC"), value=_moment)
    if kind in (11, 19):
        return Column(name=name, type=pa.string(), value=_duration)
    if kind == 16:
        if field.length == 1:
            return Column(name=name, type=pa.bool_(), value=lambda bits: _boolean(int.from_bytes(bits)))
        return Column(name=name, type=pa.uint64(), value=int.from_bytes)
    if kind == 255 or (kind in _TEXTS and field.charsetnr == _BINARY):
        return Column(name=name, type=pa.binary(), value=_bytes)
    return Column(name=name, type=pa.string(), value=text_of)


def _boolean(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{value} is neither 0 nor 1")
    return bool(value)


def _date(value: Any) -> date | None:
    return value if isinstance(value, date) else _none(value)


def _moment(value: Any) -> datetime | None:
    return value if isinstance(value, datetime) else _none(value)


def _none(value: Any) -> Any:
    """A day that there is not, such as 0000-00-00: the driver leaves it as text."""
    if "-00" not in str(value):
        raise ValueError(f"{value} is no date")
    return None


def _duration(value: Any) -> str:
    if not isinstance(value, timedelta):
        return text_of(value)
    seconds, parts = divmod(abs(value), timedelta(seconds=1))
    minutes, hours = seconds // 60 % 60, seconds // 3600
    fraction = f".{parts.microseconds:06}" if parts else ""
    return f"{'-' * (value < timedelta(0))}{hours:02}:{minutes:02}:{seconds % 60:02}{fraction}"


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _value(value: Scalar) -> Any:
    return in_utc(value) if isinstance(value, datetime) else value


MYSQL = Dialect(
    columns=_columns,
    session=(
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION time_zone = '+00:00'",
        "SET SESSION net_write_timeout = 604800",  # a reader that is slow to take rows is no dead one
    ),
    value=_value,
)
