"""Tables and queries of a DuckDB file as sources, streamed as Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from loom_dagster.connectors.bounds import fitted
from loom_dagster.connectors.contract import Chunk, Place, Scalar, State, Wanted, Window
from loom_dagster.connectors.duckdb.database import address, asking, opened, quoted, spelled
from loom_dagster.connectors.plain import conformed, unpacked
from loom_dagster.connectors.sql.addresses import Table
from loom_dagster.connectors.sql.query import parse_query, placeholders
from loom_dagster.connectors.sql.state import checked_state, column_of
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Extract

__all__ = ["DuckDbSource"]

# types that neither Parquet nor JSON has; their text loses nothing
_SYNTAX = "postgresql"  # whose quotes and comments DuckDB has
_AS_TEXT = ("INTERVAL", "BIT", "TIME WITH TIME ZONE", "UNION(")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A SELECT and its bound values."""

    sql: str
    values: Mapping[str, Scalar] = field(default_factory=dict)


class DuckDbSource:
    """The file is opened for reading only, and only while it is read."""

    def open(self, place: Place, wanted: Wanted) -> DuckDbRows:
        table, file = address(place)
        with opened(file) as connection, asking(f"{table.uri} cannot be read"):
            statement = _statement(connection, table, wanted)
            schema = _reader(connection, statement, 1).schema
        schema = pa.schema([pa.field(f.name, unpacked(f.type)) for f in schema])
        return DuckDbRows(table.uri, file, statement, schema, wanted.rows)

    def state(self, place: Place, wanted: Wanted) -> State:
        table, file = address(place)
        cursor = column_of(wanted.extract, table.uri, wanted.window)
        name = "NULL" if cursor is None else quoted(cursor)
        counted = f"count({'*' if cursor is None else name}), count(DISTINCT {name}), max({name})"
        with opened(file) as connection, asking(f"{table.uri} cannot be watched"):
            rows = _statement(connection, table, wanted)
            sql = f"SELECT {counted} FROM ({rows.sql}) AS _loom_state"
            found = connection.sql(sql, params=dict(rows.values)).fetchall()[0]
        return checked_state(table.uri, cursor, *found)

    def check(self, place: Place, extract: Extract, *, reach: bool) -> None:
        names = () if extract.query is None else placeholders(extract.query, _SYNTAX)
        # a value is not known yet: without one there are no rows, and the columns are the same
        self.open(place, Wanted(extract=extract, values=dict.fromkeys(names), rows=1)).close()


class DuckDbRows:
    """The rows of one statement."""

    files: Mapping[str, Sequence[str]] = {}

    def __init__(self, uri: str, file: Path, statement: Statement, schema: pa.Schema, rows: int) -> None:
        self.uri, self.schema = uri, schema
        self._file, self._statement, self._rows = file, statement, rows

    def chunks(self) -> Iterator[Chunk]:
        with opened(self._file) as connection, asking(f"{self.uri} cannot be read"):
            connection.execute("SET threads = 1")  # rows of a query come in one order only from one thread
            for batch in _reader(connection, self._statement, self._rows):
                if batch.num_rows:
                    yield Chunk(table=conformed(batch, self.schema))

    def close(self) -> None:
        """A file is open only while a reading goes on, which ends it."""


def _reader(connection: Any, statement: Statement, rows: int) -> Any:
    return connection.sql(statement.sql, params=dict(statement.values)).to_arrow_reader(rows)


def _statement(connection: Any, table: Table, wanted: Wanted) -> Statement:
    """All of it as one SELECT: columns, window and limit around the table or the query."""
    extract, window = wanted.extract, wanted.window
    rows, values = spelled(table), dict[str, Scalar]()
    if extract.query is not None:
        query = parse_query(extract.query, _SYNTAX)
        values = {_bound(name): value for name, value in query.values(wanted.values).items()}
        rows = f"({query.written(str, lambda name: f'${_bound(name)}')}\n) AS _loom_rows"
    described = connection.sql(f"SELECT * FROM {rows} LIMIT 0", params=values)
    schema = described.to_arrow_table().schema
    kinds = {name: str(kind) for name, kind in zip(described.columns, described.types, strict=True)}
    chosen = extract.columns or tuple(kinds)
    for name in (*chosen, *([window.column] if window else [])):
        if name not in kinds:
            raise Misconfigured(f"{table.uri} has no column `{name}`", fix=f"it has: {', '.join(kinds)}")
    columns = ", ".join(_selected(name, kinds[name]) for name in chosen)
    bounds, conditions = _bounds(window and fitted(window, schema.field(window.column).type))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    limit = f" LIMIT {extract.limit}" if extract.limit else ""
    return Statement(sql=f"SELECT {columns} FROM {rows}{where}{limit}", values={**values, **bounds})


def _bound(placeholder: str) -> str:
    return "loom_" + placeholder.replace(".", "_")


def _selected(name: str, kind: str) -> str:
    return f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}" if kind.startswith(_AS_TEXT) else quoted(name)


def _bounds(window: Window | None) -> tuple[dict[str, Scalar], list[str]]:
    if window is None:
        return {}, []
    bounds = {
        "loom_window_start": window.start,
        "loom_window_end": window.end,
        "loom_window_equal": window.equal,
    }
    signs = {"loom_window_start": ">=", "loom_window_end": "<", "loom_window_equal": "="}
    given: dict[str, Scalar] = {name: bound for name, bound in bounds.items() if bound is not None}
    return given, [f"{quoted(window.column)} {signs[name]} ${name}" for name in given]
