"""Statements that make tables and columns, and one that locks a table; each name quoted by the dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler

from loom_dagster.connectors.sql.column_types import column_type, value_family

__all__ = ["AddColumn", "LockTable", "new_column", "new_table"]


class AddColumn(ExecutableDDLElement):
    inherit_cache = False

    def __init__(self, table: sa.Table, column: sa.Column[Any]) -> None:
        self.table, self.column = table, column


@compiles(AddColumn)
def _add_column(element: AddColumn, compiler: DDLCompiler, **_: Any) -> str:
    table = compiler.preparer.format_table(element.table)
    return f"ALTER TABLE {table} ADD COLUMN {compiler.get_column_specification(element.column)}"


class LockTable(ExecutableDDLElement):
    """Other writers wait until the transaction ends; PostgreSQL's."""

    inherit_cache = False

    def __init__(self, table: sa.Table) -> None:
        self.table = table


@compiles(LockTable)
def _lock_table(element: LockTable, compiler: DDLCompiler, **_: Any) -> str:
    return f"LOCK TABLE {compiler.preparer.format_table(element.table)} IN SHARE ROW EXCLUSIVE MODE"


def new_table(
    name: str, schema: str | None, fields: Sequence[pa.Field], key: Sequence[str], dialect: sa.Dialect
) -> sa.Table:
    """A table that is not there yet, with these columns; those of ``key`` are its primary key."""
    columns = [
        new_column(f, dialect, key=f.name in key)
        for f in fields
        if value_family(f.type) != "null" or f.name in key
    ]
    return sa.Table(
        sa.quoted_name(name, quote=True),
        sa.MetaData(),
        *columns,
        schema=None if schema is None else sa.quoted_name(schema, quote=True),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
    )


def new_column(field: pa.Field, dialect: sa.Dialect, *, key: bool = False) -> sa.Column[Any]:
    """A column that takes nulls, unless it is part of the key."""
    return sa.Column(
        sa.quoted_name(field.name, quote=True),
        column_type(field.type, dialect.name, key_collation=_exact(dialect) if key else None),
        primary_key=key,
        autoincrement=False,
        nullable=not key,
    )


def _exact(dialect: sa.Dialect) -> str:
    """MySQL's collation that compares texts byte by byte, blanks at their end as well where it can."""
    if getattr(dialect, "is_mariadb", False):
        return "utf8mb4_nopad_bin"
    return "utf8mb4_0900_bin" if (dialect.server_version_info or ()) >= (8, 0, 17) else "utf8mb4_bin"
