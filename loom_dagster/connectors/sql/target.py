"""The table that is loaded: what is there, what has to be made, and what can not be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection, inspect
from sqlalchemy.schema import CreateTable

from loom_dagster.connectors.contract import Mode
from loom_dagster.connectors.sql.addresses import Table
from loom_dagster.connectors.sql.column_types import value_family
from loom_dagster.connectors.sql.ddl import AddColumn, new_column, new_table
from loom_dagster.connectors.sql.fit import check_columns, check_filled, check_name, spelled
from loom_dagster.errors import Misconfigured

__all__ = ["PARTITION", "Target", "found", "made", "schema_in"]

PARTITION = "_loom_partition"  # of which partition a row is, where partitions are overwritten


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``table`` with its columns as they are; ``names``: how those that are loaded are spelled there.
    ``unique``: no two rows of one key can be there."""

    table: sa.Table
    names: Mapping[str, str]
    unique: bool = False

    def column(self, name: str) -> sa.Column[Any]:
        """The column in which the shipment's ``name`` goes."""
        return self.table.c[self.names[name]]


def schema_in(connection: Connection, where: Table) -> str | None:
    """The schema in which the table is, or will be made. Raises Misconfigured when there is none."""
    dialect = connection.dialect.name
    if where.schema is not None or dialect == "sqlite":
        return where.schema
    if dialect == "mysql":
        current = sa.select(sa.func.DATABASE())
    else:
        quoted = connection.dialect.identifier_preparer.quote_identifier(where.name).replace("%%", "%")
        there = (
            sa.select(sa.column("nspname"))
            .select_from(sa.table("pg_class", sa.column("oid"), sa.column("relnamespace")))
            .join(
                sa.table("pg_namespace", sa.column("oid"), sa.column("nspname")),
                sa.literal_column("pg_namespace.oid") == sa.literal_column("relnamespace"),
            )
            .where(sa.literal_column("pg_class.oid") == sa.func.to_regclass(quoted))
            .scalar_subquery()
        )
        current = sa.select(sa.func.coalesce(there, sa.func.current_schema()))
    schema = connection.scalar(current)
    if schema is None:
        raise Misconfigured(
            f"{where.uri} is in no schema",
            fix="name a database in the connection's URL, or a schema in the URI",
        )
    return str(schema)


def found(connection: Connection, where: Table, schema: str | None) -> sa.Table | None:
    """The table as it is, None if it is not there."""
    inspector = inspect(connection)
    name = sa.quoted_name(where.name, quote=True)
    schema = None if schema is None else sa.quoted_name(schema, quote=True)
    if not inspector.has_table(name, schema=schema):
        return None
    if connection.dialect.name == "sqlite":  # as it was made, in upper and lower case
        same = [n for n in inspector.get_table_names() if n.lower() == where.name.lower()]
        name = sa.quoted_name(same[0] if same else where.name, quote=True)
    columns = [
        sa.Column(
            sa.quoted_name(_as_named(c["name"], connection), quote=True),
            c["type"],
            nullable=c["nullable"],
            info={"filled": _filled(c)},
        )
        for c in inspector.get_columns(name, schema=schema)
    ]
    return sa.Table(name, sa.MetaData(), *columns, schema=schema)


def made(
    connection: Connection, where: Table, schema: str | None, incoming: pa.Schema, key: Sequence[str], mode: Mode,
    *, partitioned: bool,
) -> Target:  # fmt: skip
    """The table with a column for each of ``incoming``; made, or given new columns, where it has to be.

    Raises Misconfigured, before anything is changed, for columns that do not fit.
    """
    dialect = connection.dialect.name
    for name in incoming.names:
        check_name(name, dialect)
    fields = [
        *incoming,
        *([pa.field(PARTITION, pa.string())] if partitioned and PARTITION not in incoming.names else []),
    ]
    table = found(connection, where, schema)
    if table is None:
        table = new_table(where.name, schema, fields, key if mode == "upsert" else (), connection.dialect)
        connection.execute(CreateTable(table, if_not_exists=True))
        table = _there(connection, where, schema)
    names = spelled(table, [f.name for f in fields], dialect)
    check_columns(connection, where, table, incoming)
    check_filled(table, set(names.values()), where)
    new = [
        new_column(f, connection.dialect)
        for f in fields
        if f.name not in names and (value_family(f.type) != "null" or f.name in key)
    ]
    for column in new:
        connection.execute(AddColumn(table, column))
    if new:
        table = _there(connection, where, schema)
        names = spelled(table, [f.name for f in fields], dialect)
    unique = mode == "upsert" and _unique(connection, table, {names[name] for name in key})
    return Target(table=table, names=names, unique=unique)


def _as_named(name: str, connection: Connection) -> str:
    """What SQLAlchemy reads of MySQL has a backtick in a name still doubled."""
    return name.replace("``", "`") if connection.dialect.name == "mysql" else name


def _there(connection: Connection, where: Table, schema: str | None) -> sa.Table:
    table = found(connection, where, schema)
    if table is None:
        raise Misconfigured(f"{where.uri} was just there and is gone", fix="load again")
    return table


def _filled(column: Mapping[str, Any]) -> bool:
    """Whether the database fills it when nobody else does."""
    return bool(
        column.get("default") is not None
        or column.get("computed")
        or column.get("identity")
        or column.get("autoincrement") is True
        or (column.get("primary_key") and isinstance(column["type"], sa.INTEGER))  # SQLite's row number
    )


def _unique(connection: Connection, table: sa.Table, key: set[str]) -> bool:
    inspector = inspect(connection)
    keys = [inspector.get_pk_constraint(table.name, schema=table.schema).get("constrained_columns") or []]
    keys += [
        [*map(str, c["column_names"])]
        for c in inspector.get_unique_constraints(table.name, schema=table.schema)
    ]
    for index in inspector.get_indexes(table.name, schema=table.schema):
        options = {
            k: v for k, v in (index.get("dialect_options") or {}).items() if k.endswith(("_where", "_length"))
        }
        if index["unique"] and not index.get("expressions") and not any(options.values()):
            keys.append([*map(str, index["column_names"])])
    return any({_as_named(column, connection) for column in columns} == key for columns in keys)
