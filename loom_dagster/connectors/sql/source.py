"""Tables and queries as sources."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pyarrow as pa
import sqlalchemy as sa

from loom_dagster.connectors.bounds import fitted
from loom_dagster.connectors.contract import Place, State, Wanted
from loom_dagster.connectors.sql.addresses import Table, table_at
from loom_dagster.connectors.sql.cursor import CursorReader
from loom_dagster.connectors.sql.engines import engine_of, url_of
from loom_dagster.connectors.sql.failures import asking
from loom_dagster.connectors.sql.postgres_copy import PostgresReader
from loom_dagster.connectors.sql.query import Query, parse_query
from loom_dagster.connectors.sql.reader import Reader
from loom_dagster.connectors.sql.rows import SqlRows
from loom_dagster.connectors.sql.selection import Selection
from loom_dagster.connectors.sql.state import state_of
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Extract

__all__ = ["SqlSource"]

_LOCAL = frozenset({"sqlite"})
_FIXED = (pa.types.is_integer, pa.types.is_decimal, pa.types.is_date, pa.types.is_timestamp)
# by which columns a reading can go on behind a value: those where equal for the database is equal for us
_RESUMABLE = {
    "postgresql": (*_FIXED, pa.types.is_string, pa.types.is_binary),
    "mysql": _FIXED,
    "mariadb": _FIXED,
    "sqlite": (pa.types.is_integer,),
}


class SqlSource:
    """A table of a database, or a query."""

    def open(self, place: Place, wanted: Wanted) -> SqlRows:
        table, query = _addressed(place, wanted.extract)
        given = {} if query is None else query.values(wanted.values)
        return _rows(Selection(table=table, query=query, given=given), wanted)

    def state(self, place: Place, wanted: Wanted) -> State:
        table, query = _addressed(place, wanted.extract)
        given = {} if query is None else query.values(wanted.values)
        selection = Selection(table=table, query=query, given=given)
        window = wanted.window
        if window is not None and wanted.extract.incremental is None:
            window = fitted(window, _described(selection, wanted).field(window.column).type)
        return state_of(replace(selection, window=window), wanted.extract)

    def check(self, place: Place, extract: Extract, *, reach: bool) -> None:
        table, query = _addressed(place, extract)
        if reach or _dialect(table) in _LOCAL:
            # a value is not known yet: without one there are no rows, and the columns are the same
            given = dict.fromkeys(query.names if query is not None else ())
            _rows(Selection(table=table, query=query, given=given), Wanted(extract=extract))


def _addressed(place: Place, extract: Extract) -> tuple[Table, Query | None]:
    table = table_at(place)
    if extract.query is not None:
        return table, parse_query(extract.query, _dialect(table))
    if not table.name:
        raise Misconfigured(
            f"{table.uri} names no table", fix=f"{place.scheme}://{table.connection.name}/TABLE"
        )
    return table, None


def _rows(selection: Selection, wanted: Wanted) -> SqlRows:
    """What is wanted of a selection, of which the database has told what it has."""
    table, extract = selection.table, wanted.extract
    what, dialect = f"{table.uri} cannot be read", _dialect(table)
    engine = engine_of(table.connection, reading=True)
    primary: Sequence[str] = ()
    if selection.query is None:
        with asking(table.connection, what):
            primary = _primary_key(table, engine)
    reader: Reader = (PostgresReader if dialect == "postgresql" else CursorReader)(table.connection, what)
    found = reader.describe(selection)
    _check_columns(found.names, table.uri, wanted)
    schema = pa.schema([found.field(name) for name in extract.columns or found.names])
    order = extract.key or tuple(primary)
    return SqlRows(
        reader,
        replace(
            selection,
            window=wanted.window and fitted(wanted.window, found.field(wanted.window.column).type),
            order=order,
            limit=extract.limit,
            last_nulls=dialect == "postgresql",
        ),
        schema,
        rows=wanted.rows,
        resumes=_resumes(order, schema, dialect, primary),
        what=what,
    )


def _primary_key(table: Table, engine: sa.Engine) -> Sequence[str]:
    """The columns of its primary key, none for a view. Raises Misconfigured where there is no such table."""
    inspector = sa.inspect(engine)
    if not inspector.has_table(table.name, schema=table.schema):
        names = inspector.get_table_names(table.schema) + inspector.get_view_names(table.schema)
        raise Misconfigured(
            f"{table.uri}: there is no table `{table.name}`"
            + (f" in the schema `{table.schema}`" if table.schema else ""),
            fix=_nearest(table.name, names) if names else "there are no tables at all",
        )
    return list(inspector.get_pk_constraint(table.name, schema=table.schema)["constrained_columns"])


def _check_columns(names: Sequence[str], uri: str, wanted: Wanted) -> None:
    extract = wanted.extract
    for at, name in enumerate(names):
        if name in names[:at]:
            raise Misconfigured(
                f"the query of {uri} has two columns called `{name}`",
                fix=f"give one another name in `extract.query`: ... AS other_{name}",
            )
    asked = [(name, "`extract.columns`") for name in extract.columns]
    asked += [(name, "`extract.key`") for name in extract.key]
    asked += [(wanted.window.column, "the window of a partition or an increment")] if wanted.window else []
    cursor = extract.incremental.cursor if extract.incremental else None
    asked += [(cursor, "`extract.incremental.cursor`")] if cursor else []
    for name, where in asked:
        if name not in names:
            raise Misconfigured(
                f"{uri} has no column `{name}`, which {where} names", fix=_nearest(name, names)
            )
    for name in (*extract.key, *([cursor] if cursor else [])):
        if extract.columns and name not in extract.columns:
            raise Misconfigured(
                f"`extract.columns` leaves out `{name}`, which the key or the cursor needs",
                fix=f"add `{name}` to it",
            )


def _described(selection: Selection, wanted: Wanted) -> pa.Schema:
    table = selection.table
    what = f"{table.uri} cannot be watched"
    reader: Reader = (PostgresReader if _dialect(table) == "postgresql" else CursorReader)(
        table.connection, what
    )
    found = reader.describe(selection)
    _check_columns(found.names, table.uri, wanted)
    return found


def _resumes(order: Sequence[str], schema: pa.Schema, dialect: str, primary: Sequence[str]) -> bool:
    """Whether a lost reading can go on behind its last row. Several columns only where none is ever null."""
    if not order or not set(order) <= set(schema.names):
        return False
    if len(order) > 1 and not set(order) <= set(primary):
        return False
    return all(any(test(schema.field(name).type) for test in _RESUMABLE.get(dialect, ())) for name in order)


def _nearest(name: str, names: Iterable[str]) -> str:
    known = list(names)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(known[:20])}"


def _dialect(table: Table) -> str:
    return url_of(table.connection).get_backend_name()
