"""Any database that SQLAlchemy speaks to, read through a cursor of the server: MySQL, MariaDB, SQLite and others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from loom_dagster.connections import Connection
from loom_dagster.connectors.contract import CHUNK_BYTES, Chunk
from loom_dagster.connectors.sql.columns import Column, Dialect, chunk_of, first_rows
from loom_dagster.connectors.sql.engines import engine_of
from loom_dagster.connectors.sql.failures import asking
from loom_dagster.connectors.sql.mysql import MYSQL
from loom_dagster.connectors.sql.selection import Selection
from loom_dagster.connectors.sql.sqlite import SQLITE

__all__ = ["CursorReader"]

_FIRST = 256  # rows that are fetched before it is known how large they are


class CursorReader:
    """``what`` begins each message about what goes wrong: shop/reviews cannot be read."""

    def __init__(self, connection: Connection, what: str) -> None:
        self._connection, self._what = connection, what
        self._engine = engine_of(connection, reading=True)
        self._dialect = _DIALECTS.get(self._engine.dialect.name, _OTHER)
        self._columns: dict[str, Column] = {}

    def describe(self, selection: Selection) -> pa.Schema:
        with self._session() as connection:
            found = self._dialect.columns(connection, selection, self._bound(selection))
        self._columns = {column.name: column for column in found}
        return pa.schema([pa.field(column.name, column.type) for column in found])

    def read(self, selection: Selection, schema: pa.Schema, rows: int) -> Iterator[Chunk]:
        columns, names, left = [self._columns[n] for n in schema.names], list(self._columns), selection.limit
        as_written = selection.query is not None and not selection.window and not selection.order
        if as_written:  # for within another statement the query's own order would not count
            statement: Any = selection.plain()
            places = [names.index(name) for name in schema.names]
        else:
            statement = selection.statement(names, columns=lambda source: [source.c[n] for n in schema.names])
            places = list(range(len(columns)))
        reading: list[Any] = []
        with self._session(reading) as connection:
            result = connection.execute(statement, self._bound(selection))
            reading.append(result.cursor)
            count = min(rows, _FIRST)
            while left != 0 and (found := result.fetchmany(count if left is None else min(count, left))):
                left = None if left is None else left - len(found)
                picked = [[row[at] for at in places] for row in found] if as_written else found
                chunk = chunk_of(picked, columns)
                yield chunk
                count = min(rows, max(1, CHUNK_BYTES * len(found) // max(chunk.table.nbytes, 1)))

    def first(
        self, selection: Selection, names: Sequence[str], columns: Callable[[sa.FromClause], Sequence[Any]]
    ) -> Sequence[Any]:
        """The one row that ``columns`` make of a selection: counts and the like."""
        with self._session() as connection:
            statement = selection.statement(names, columns=columns)
            return tuple(connection.execute(statement, self._bound(selection)).one())

    def _bound(self, selection: Selection) -> dict[str, Any]:
        return {name: self._dialect.value(value) for name, value in selection.values.items()}

    @contextmanager
    def _session(self, reading: Sequence[Any] = ()) -> Iterator[sa.Connection]:
        """A connection in which nothing can be changed, where the database has such; and cursors that may be
        ``reading`` when it ends."""
        with asking(self._connection, self._what):
            connection = self._engine.connect()
            try:
                for statement in self._dialect.session:
                    connection.exec_driver_sql(statement)
                connection.rollback()  # what was set holds from the next transaction on
                if self._engine.dialect.name == "sqlite":
                    driver: Any = connection.connection.dbapi_connection
                    driver.text_factory = _text
                yield connection.execution_options(stream_results=True)
            finally:
                _end(connection, reading)


def _end(connection: sa.Connection, reading: Sequence[Any]) -> None:
    """Hangs up, without reading what nobody wants any more: PyMySQL would, to the last row."""
    for cursor in reading:
        unread = getattr(cursor, "_result", None)
        if unread is not None and getattr(unread, "unbuffered_active", False):
            unread.unbuffered_active = False
            if not connection.invalidated:
                connection.invalidate()
    connection.close()


def _text(data: bytes) -> str | bytes:
    """A text of SQLite's; bytes where it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


_OTHER = Dialect(columns=first_rows)
_DIALECTS = {"mysql": MYSQL, "mariadb": MYSQL, "sqlite": SQLITE}
