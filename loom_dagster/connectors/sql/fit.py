"""Whether a shipment and a table fit together: names, types, columns that must be filled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection

from loom_dagster.connectors.sql.addresses import Table
from loom_dagster.connectors.sql.column_types import column_family, column_type, fits, value_family
from loom_dagster.errors import Misconfigured

__all__ = ["check_columns", "check_filled", "check_name", "spelled"]

_LONGEST = {"postgresql": (63, "bytes", "utf-8"), "mysql": (64, "characters", "utf-32-le")}


def check_name(name: str, dialect: str) -> None:
    """Raises Misconfigured for a name that the database would cut."""
    if not name or "\0" in name:
        raise Misconfigured("a name of a table or a column is empty or holds a NUL")
    limit, unit, encoding = _LONGEST.get(dialect, (0, "", ""))
    length = len(name.encode(encoding)) // (4 if unit == "characters" else 1) if limit else 0
    if length > limit:
        raise Misconfigured(
            f"the name `{name}` has {length} {unit}",
            why=f"{dialect} takes {limit} and would cut it",
            fix="choose a shorter one",
        )


def spelled(table: sa.Table, names: Sequence[str], dialect: str) -> dict[str, str]:
    """How the columns are spelled that are there: only PostgreSQL tells `Id` from `id`."""
    if dialect == "postgresql":
        return {name: name for name in names if name in table.c}
    there = {str(column.name).lower(): column.name for column in table.c}
    if len({name.lower() for name in names}) < len(names):
        raise Misconfigured(
            f"two columns for {table.name} differ in upper and lower case only",
            why=f"{dialect} takes them for one",
            fix="rename one of them",
        )
    return {name: there[name.lower()] for name in names if name.lower() in there}


def check_columns(connection: Connection, where: Table, table: sa.Table, incoming: pa.Schema) -> None:
    """Raises Misconfigured for values that a column of the table does not take, with the statement that would help,
    and for a table that has no transactions."""
    dialect = connection.dialect.name
    names = spelled(table, incoming.names, dialect)
    for field in incoming:
        if field.name not in names:
            continue
        column = table.c[names[field.name]]
        values, holds = value_family(field.type), column_family(column.type)
        if not fits(values, holds, dialect):
            raise Misconfigured(
                f"column `{column.name}` of {where.uri} is {_type_text(column, connection)} and would get {values} values",
                why="a load never changes the type of a column",
                fix=_alteration(table, column, field, connection),
            )
    if dialect == "mysql":
        _check_transactional(table, where, connection)


def check_filled(table: sa.Table, brought: Collection[str], where: Table) -> None:
    """Raises Misconfigured where a row would lack a value that the table must have."""
    for column in table.c:
        if not column.nullable and not column.info["filled"] and column.name not in brought:
            raise Misconfigured(
                f"column `{column.name}` of {where.uri} must not be null and has no default",
                why="the load brings no values for it",
                fix="add it to `load.columns`, or give it a default",
            )


def _check_transactional(table: sa.Table, where: Table, connection: Connection) -> None:
    facts = sa.table(
        "tables", *map(sa.column, ("engine", "table_name", "table_schema")), schema="information_schema"
    )
    engine = connection.scalar(
        sa.select(facts.c.engine).where(
            facts.c.table_name == table.name, facts.c.table_schema == table.schema
        )
    )
    if engine and str(engine).upper() in ("MYISAM", "ARIA", "MEMORY", "CSV", "ARCHIVE"):
        raise Misconfigured(
            f"{where.uri} is a table of the engine {engine}, which has no transactions",
            fix=f"ALTER TABLE {_plain(connection, table)} ENGINE=InnoDB",
        )


def _alteration(table: sa.Table, column: sa.Column[Any], field: pa.Field, connection: Connection) -> str:
    """What a person may decide to do about it."""
    dialect = connection.dialect.name
    if dialect == "sqlite":
        return "SQLite changes no types: rename the output column, or load into another table"
    kind = str(column_type(field.type, dialect).compile(connection.dialect))
    name = connection.dialect.identifier_preparer.quote(column.name).replace("%%", "%")
    change = f"ALTER COLUMN {name} TYPE {kind} USING {name}::{kind}"
    if dialect == "mysql":
        change = f"MODIFY COLUMN {name} {kind}"
    return f"rename the output column, or: ALTER TABLE {_plain(connection, table)} {change}"


def _plain(connection: Connection, table: sa.Table) -> str:
    return connection.dialect.identifier_preparer.format_table(table).replace("%%", "%")


def _type_text(column: sa.Column[Any], connection: Connection) -> str:
    try:
        return str(column.type.compile(connection.dialect))
    except sa.exc.CompileError:
        return "of another type"
