"""PostgreSQL as a source: Arrow batches through COPY, of which the server's part takes longer than ours.

COPY takes no parameters. So values travel, bound, into settings of the transaction, and the statement reads
them from there as the types that the server itself infers for them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.dialects.postgresql.base import PGDialect

from loom_dagster.connections import Connection
from loom_dagster.connectors.contract import Chunk, Scalar, Unreadable
from loom_dagster.connectors.sql.engines import asking, libpq_url, translated
from loom_dagster.connectors.sql.postgres_types import PostgresColumn, postgres_column, selected
from loom_dagster.connectors.sql.selection import Selection
from loom_dagster.errors import LoomError, Misconfigured

__all__ = ["PostgresReader"]

_DIALECT = PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_BATCH_BYTES = 4 << 20
_COPY, _HINT = "adbc.postgresql.use_copy", "adbc.postgresql.batch_size_hint_bytes"
_SETTINGS = {
    "default_transaction_read_only": "on",
    "statement_timeout": "0",  # a reader that is slow to take rows is no slow query
    "synchronize_seqscans": "off",  # the order of two readings
    "TimeZone": "UTC",
    "DateStyle": "ISO",
}
_WRONG_TYPE = ("42", "22")  # SQLSTATE classes: no such operator, not a value of that type
_ANY_TYPE = "42P18"  # nothing tells which type is meant


class PostgresReader:
    """``what`` begins each message about what goes wrong: customers/reviews cannot be read."""

    def __init__(self, connection: Connection, what: str) -> None:
        self._connection, self._what = connection, what
        self._columns: dict[str, PostgresColumn] = {}

    def describe(self, selection: Selection) -> pa.Schema:
        selection = replace(selection, window=None, order=(), after=())
        with self._transaction(selection) as (connection, cursor):
            written = _bound(connection, cursor, selection, ())
            cursor.execute(_compiled(selection.statement((), written=written.__getitem__, limit=0))[0])
            found = [postgres_column(field) for field in cursor.fetch_record_batch().schema]
        self._columns = {column.name: column for column in found}
        return pa.schema([pa.field(column.name, column.type) for column in found])

    def read(self, selection: Selection, schema: pa.Schema, rows: int) -> Iterator[Chunk]:
        columns, names = [self._columns[name] for name in schema.names], list(self._columns)
        with self._transaction(selection) as (connection, cursor):
            written = _bound(connection, cursor, selection, names)
            statement = selection.statement(
                names, columns=lambda _: selected(columns), written=written.__getitem__
            )
            cursor.adbc_statement.set_options(**{_HINT: str(_BATCH_BYTES)})
            patience = _Patience(self._connection, self._what, connection, cursor.adbc_cancel)
            with patience.waiting():
                cursor.execute(_compiled(statement)[0])
                batches = cursor.fetch_record_batch()
            while True:
                with patience.waiting():
                    batch = next(batches, None)
                if batch is None:
                    return
                for at in range(0, batch.num_rows, rows):
                    yield _chunk(batch.slice(at, rows), columns, schema)

    @contextmanager
    def _transaction(self, selection: Selection) -> Iterator[tuple[Any, Any]]:
        try:
            import adbc_driver_postgresql.dbapi as adbc  # a driver is loaded when it is needed
        except ImportError as error:
            raise Misconfigured(
                "PostgreSQL needs a driver that is not installed", fix="pip install 'loom-dagster[postgres]'"
            ) from error
        settings = dict(_SETTINGS, lock_timeout=str(round(self._connection.query_timeout * 1000)))
        if not selection.order:  # several workers give their rows in no order
            settings["max_parallel_workers_per_gather"] = "0"
        with asking(self._connection, self._what):
            connection = adbc.connect(libpq_url(self._connection, settings))
            cursor = connection.cursor()
            try:
                yield connection, cursor
            finally:
                for part in (cursor, connection):
                    with suppress(adbc.Error, OSError):  # what goes wrong here went wrong before
                        part.close()


class _Patience:
    """Waits for the server for as long as a query may take; how long our own side takes is not counted."""

    def __init__(self, place: Connection, what: str, connection: Any, cancel: Callable[[], None]) -> None:
        self._place, self._what, self._connection, self._cancel = place, what, connection, cancel
        self._late = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        timer = threading.Timer(self._place.query_timeout, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, pa.ArrowException) as error:  # how the driver's words come in the middle of rows
            raise self._told(error) from error
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        self._late = True
        with suppress(Exception):  # it has just ended
            self._cancel()

    def _told(self, error: Exception) -> LoomError:
        if not self._late:
            return translated(error, self._place, self._what, lost=not self._lives())
        return Misconfigured(
            self._what,
            why=f"no rows came for {self._place.query_timeout:g} seconds",
            fix=f"raise `query_timeout` of connection `{self._place.name}`, or ask for less",
            kind="query_timeout",
        )

    def _lives(self) -> bool:
        """Whether the server still answers: such an error has no code, and its words are in any language."""
        try:
            self._connection.rollback()
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                cursor.fetchall()
        except Exception:  # noqa: BLE001 - whatever it is, it is no answer
            return False
        return True


def _bound(connection: Any, cursor: Any, selection: Selection, names: Sequence[str]) -> dict[str, str]:
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
    statement, order = _compiled(selection.statement(names, limit=0))
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


def _compiled(statement: Any) -> tuple[str, list[str]]:
    compiled = statement.compile(dialect=_DIALECT)
    return compiled.string, list(compiled.positiontup or ())


def _chunk(batch: pa.RecordBatch, columns: Sequence[PostgresColumn], schema: pa.Schema) -> Chunk:
    marks = batch.column(len(columns))
    unreadable = []
    if marks.null_count < len(marks):
        for offset, mark in enumerate(marks.to_pylist()):
            if mark is not None:
                number, _, raw = mark.partition(" ")
                reason = f"column `{columns[int(number)].name}` holds what a {schema.field(int(number)).type} cannot be"
                unreadable.append(Unreadable(offset=offset, raw=raw, reason=reason))
        batch = batch.filter(pc.is_null(marks))
    arrays = [
        array if array.type == field.type else pc.cast(array, field.type)
        for array, field in zip(batch.columns, schema, strict=False)
    ]
    return Chunk(table=pa.RecordBatch.from_arrays(arrays, schema=schema), unreadable=unreadable)
