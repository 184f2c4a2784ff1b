"""Whether a destination can be loaded, found out without writing."""

from __future__ import annotations

import os

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from loom_dagster.connectors.sql.addresses import Table
from loom_dagster.connectors.sql.failures import asking
from loom_dagster.connectors.sql.fit import check_columns
from loom_dagster.connectors.sql.target import found, schema_in
from loom_dagster.connectors.sql.transactions import opened
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Load

__all__ = ["check_reach"]

_TYPES = {
    "string": pa.string(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "array": pa.list_(pa.string()),
    "object": pa.struct([]),
}


def check_reach(engine: Engine, where: Table, load: Load) -> None:
    """Raises Misconfigured where the table neither is there nor may be made, or does not take the output's columns;
    Transient while the server is away."""
    if engine.dialect.name == "sqlite" and not _file_is_there(engine, where):
        return
    with asking(where.connection, f"{where.uri} cannot be reached"), opened(engine) as connection:
        schema = schema_in(connection, where)
        table = found(connection, where, schema)
        if table is not None:
            fields = [pa.field(name, _TYPES[spec.type]) for name, spec in (load.schema_ or {}).items()]
            check_columns(connection, where, table, pa.schema(fields))
        if connection.dialect.name == "postgresql":
            _check_rights(connection, where, schema, table)


def _file_is_there(engine: Engine, where: Table) -> bool:
    """Looking into an SQLite file that is not there would make it."""
    path = engine.url.database or ""
    if path in ("", ":memory:"):
        return True
    there = os.path.exists(path)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise Misconfigured(f"{where.uri} cannot be written", why="its folder is not there", fix="make it")
    if not os.access(path if there else folder, os.W_OK):
        raise Misconfigured(
            f"{where.uri} may not be written", why="permission denied", fix="give this user the right to"
        )
    return there


def _check_rights(connection: Connection, where: Table, schema: str | None, table: sa.Table | None) -> None:
    missing = []
    if not connection.scalar(sa.select(sa.func.has_schema_privilege(schema, "USAGE"))):
        missing.append("USAGE")
    elif table is not None:
        name = connection.dialect.identifier_preparer.format_table(table).replace("%%", "%")
        missing += [
            right
            for right in ("SELECT", "INSERT", "UPDATE", "DELETE")
            if not connection.scalar(sa.select(sa.func.has_table_privilege(name, right)))
        ]
    elif not connection.scalar(sa.select(sa.func.has_schema_privilege(schema, "CREATE"))):
        missing.append(f"CREATE in schema {schema}")
    if missing:
        raise Misconfigured(
            f"{where.uri} may not be loaded: the user has not the right to {', '.join(missing)}",
            fix="have it granted",
        )
