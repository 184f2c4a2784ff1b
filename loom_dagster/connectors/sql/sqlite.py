"""SQLite's types as Arrow's: as columns are declared, and where that says little, as their values are stored."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from loom_dagster.connectors.contract import Scalar
from loom_dagster.connectors.sql.columns import Column, Dialect, in_utc, text_of
from loom_dagster.connectors.sql.selection import ROWS, Selection

__all__ = ["SQLITE"]

_STORED = ("integer", "real", "text", "blob")


def _columns(connection: sa.Connection, selection: Selection, values: Mapping[str, Any]) -> list[Column]:
    statement = selection.statement((), limit=0) if selection.query is None else selection.plain()
    names = list(connection.execute(statement, dict(values)).keys())
    if len(set(names)) < len(names):  # whoever asks refuses them
        return [Column(name=name, type=pa.string()) for name in names]
    found = dict(zip(names, map(_as_declared, names, _declared(connection, selection)), strict=True))
    # a date may be text or a number
    unsure = [name for name, column in found.items() if column is None or pa.types.is_temporal(column.type)]
    stored = _stored(connection, selection, values, names, unsure)
    return [
        column
        if column is not None and stored.get(name, set()) <= {"text"}
        else _as_stored(name, stored[name])
        for name, column in found.items()
    ]


def _declared(connection: sa.Connection, selection: Selection) -> list[str]:
    """The declared type of each column; of a query's, too, where it is a table's: a view knows that."""
    if selection.query is None:
        text = sa.text(str(selection.statement(()).compile(dialect=connection.dialect)).replace(":", "\\:"))
    else:
        text = selection.plain(lambda _: "NULL")
    connection.exec_driver_sql("PRAGMA query_only = OFF")  # a view of this connection alone
    connection.execute(sa.text(f"CREATE TEMP VIEW {ROWS} AS {text.text}"))
    found = [row[2].upper() for row in connection.exec_driver_sql(f"PRAGMA temp.table_info({ROWS})")]
    connection.exec_driver_sql(f"DROP VIEW temp.{ROWS}")
    connection.exec_driver_sql("PRAGMA query_only = ON")
    return found


def _stored(
    connection: sa.Connection,
    selection: Selection,
    values: Mapping[str, Any],
    names: Sequence[str],
    asked: Sequence[str],
) -> dict[str, set[str]]:
    """How the values of the columns ``asked`` for are stored. Reads all rows, if there are such columns."""
    found: dict[str, set[str]] = {}
    for name in asked:
        statement = selection.statement(names, columns=functools.partial(_kind_of, name)).distinct()
        found[name] = {row[0] for row in connection.execute(statement, dict(values))} & set(_STORED)
    return found


def _kind_of(name: str, rows: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    return [sa.func.typeof(rows.c[name])]


def _as_declared(name: str, declared: str) -> Column | None:
    """By SQLite's own rules of affinity, after what other databases call a boolean, a date and a number."""
    if re.search(r"BOOL", declared):
        return Column(name=name, type=pa.bool_(), value=_boolean)
    if re.search(r"DATETIME|TIMESTAMP", declared):
        return Column(name=name, type=pa.timestamp("us"), value=_moment)
    if re.fullmatch(r"DATE", declared):
        return Column(name=name, type=pa.date32(), value=_date)
    if size := re.fullmatch(r"(?:DECIMAL|NUMERIC)\s*\((\d+)(?:\s*,\s*(\d+))?\)", declared):
        digits, scale = int(size[1]), int(size[2] or 0)
        if scale <= digits <= 38:
            return Column(name=name, type=pa.decimal128(digits, scale), value=_number_with(scale))
    if "INT" in declared:
        return Column(name=name, type=pa.int64(), value=_whole)
    if re.search(r"CHAR|CLOB|TEXT|JSON|UUID|TIME", declared):
        return Column(name=name, type=pa.string(), value=text_of)
    if "BLOB" in declared:
        return Column(name=name, type=pa.binary(), value=_bytes)
    if re.search(r"REAL|FLOA|DOUB", declared):
        return Column(name=name, type=pa.float64(), value=_number)
    return None


def _as_stored(name: str, stored: Collection[str]) -> Column:
    if stored == {"integer"}:
        return Column(name=name, type=pa.int64(), value=_whole)
    if stored and set(stored) <= {"integer", "real"}:
        return Column(name=name, type=pa.float64(), value=_number)
    if stored == {"blob"}:
        return Column(name=name, type=pa.binary(), value=_bytes)
    return Column(name=name, type=pa.string(), value=text_of)


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _number_with(scale: int) -> Any:
    def number(value: Any) -> Decimal:
        return Decimal(repr(_number(value))).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)

    return number


def _boolean(value: Any) -> bool:
    named = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
    try:
        return named[str(value).lower()]
    except KeyError:
        raise ValueError(f"{value!r} is neither 0 nor 1") from None


def _moment(value: Any) -> datetime:
    return in_utc(datetime.fromisoformat(value))


def _date(value: Any) -> date:
    moment = datetime.fromisoformat(value)
    if moment.timetz() != time.min:
        raise ValueError(f"{value!r} is more than a day")
    return moment.date()


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else text_of(value).encode()


def _value(value: Scalar) -> Any:
    """SQLite compares dates as texts. One without a time is before all others of its day, however they are written."""
    if isinstance(value, datetime):
        value = in_utc(value)
        return value.date().isoformat() if value.time() == time.min else value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


SQLITE = Dialect(columns=_columns, session=("PRAGMA query_only = ON",), value=_value)
