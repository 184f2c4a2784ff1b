"""Values for PostgreSQL's COPY, which takes no parameters.

They travel, bound, into settings of the transaction, and the statement reads them from there as the types that
the server itself infers for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.dialects.postgresql.base import PGDialect

from loom_dagster.connectors.contract import Scalar
from loom_dagster.connectors.sql.selection import Selection

__all__ = ["bound", "compiled"]

_DIALECT = PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_WRONG_TYPE = ("42", "22")  # SQLSTATE classes: no such operator, not a value of that type
_ANY_TYPE = "42P18"  # nothing tells which type is meant
_COPY = "adbc.postgresql.use_copy"


def bound(connection: Any, cursor: Any, selection: Selection, names: Sequence[str]) -> dict[str, str]:
    """How each value stands in the statement, after it was given to the transaction."""
    values = selection.values
    if not values:
        return {}
    types = _inferred(connection, cursor, selection, names)
    types = {name: kind.replace(":", "\\:") for name, kind in types.items()}  # as ``text`` wants it
    written = {}
    for name, value in values.items():
        if value is None:
            written[name] = f"CAST(NULL AS {types[name]})"
            continue
        cursor.execute("SELECT set_config($1, $2, true)", (f"loom.{name}", _text(value)))
        cursor.fetchall()
        written[name] = f"CAST(current_setting('loom.{name}') AS {types[name]})"
    return written


def _inferred(connection: Any, cursor: Any, selection: Selection, names: Sequence[str]) -> Mapping[str, str]:
    """The type of each value where it stands: its own, else what the server makes of the place."""
    from adbc_driver_manager import Error  # the driver is loaded by now

    values = selection.values
    statement, order = compiled(selection.statement(names, limit=0))
    own = [_own_type(values[name]) for name in order]
    types, first = list(own), None
    for _ in range(len(order) + 2):
        try:
            return dict(zip(order, _prepared(cursor, statement, types), strict=True))
        except Error as error:
            state = str(getattr(error, "sqlstate", None) or "")
            connection.rollback()
            number = re.search(
                r"': [^\n]*\$(\d+)", str(error)
            )  # the statement, and after it what is said of it
            if state == _ANY_TYPE and number is not None:
                types[int(number[1]) - 1] = "text"
            elif state.startswith(_WRONG_TYPE) and first is None:
                types, first = ["unknown"] * len(order), error
            else:
                raise (first or error) from None
    raise first or LookupError("no types")


def _prepared(cursor: Any, statement: str, types: Sequence[str]) -> list[str]:
    cursor.adbc_statement.set_options(**{_COPY: "false"})
    try:
        cursor.execute(f"PREPARE loom ({', '.join(types)}) AS {statement}")
        cursor.execute("SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'loom'")
        [[found]] = cursor.fetchall()
        return list(found)
    finally:
        cursor.adbc_statement.set_options(**{_COPY: "true"})


_TYPES: Mapping[type, str] = {
    bool: "boolean",
    int: "bigint",
    float: "double precision",
    Decimal: "numeric",
    date: "date",
}


def _own_type(value: Scalar) -> str:
    if isinstance(value, datetime):
        return "timestamp" if value.tzinfo is None else "timestamptz"
    return _TYPES.get(type(value), "unknown")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return value.isoformat(" ") if isinstance(value, datetime) else str(value)


def compiled(statement: Any) -> tuple[str, list[str]]:
    """Its text, and the names of what is bound in it by their numbers."""
    found = statement.compile(dialect=_DIALECT)
    return found.string, list(found.positiontup or ())
