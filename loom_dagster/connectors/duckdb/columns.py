"""The columns of a table that is loaded into: made, added to, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from loom_dagster.connectors.duckdb.database import quoted, spelled
from loom_dagster.connectors.plain import unpacked
from loom_dagster.connectors.sql.addresses import Table
from loom_dagster.errors import Misconfigured

__all__ = ["PARTITION", "fit"]

PARTITION = "_loom_partition"  # which partition a row came with, in tables that are loaded by partitions


def fit(connection: Any, table: Table, stage: str, names: Sequence[str], *, partitioned: bool) -> list[str]:
    """Makes the table, or adds the columns it lacks. Returns the table's spelling of ``names``.

    Raises Misconfigured where a column would have to change its type, with the SQL that would do it.
    """
    where = spelled(table)
    kinds = {row[0]: _kind(row[1]) for row in connection.execute(f"DESCRIBE {stage}").fetchall()}
    wanted = {name: kinds[name] for name in names}
    if partitioned:
        wanted[PARTITION] = "VARCHAR"
    if not _exists(connection, table):
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in wanted.items())
        connection.execute(f"CREATE TABLE {where} ({columns})")
        return list(names)
    own = connection.sql(f"SELECT * FROM {where} LIMIT 0").to_arrow_table().schema
    new = connection.sql(f"SELECT * FROM {stage} LIMIT 0").to_arrow_table().schema
    spelling = {name.lower(): name for name in own.names}
    for name, kind in wanted.items():
        there = spelling.get(name.lower())
        if there is None:
            connection.execute(f"ALTER TABLE {where} ADD COLUMN {quoted(name)} {kind}")
        elif name in new.names and not _fits(own.field(there).type, new.field(name).type):
            raise Misconfigured(
                f"column `{there}` of {table.uri} is {own.field(there).type} and would get {new.field(name).type}",
                why="a load never changes the type of a column",
                fix=f"rename the output column, or run: ALTER TABLE {where} ALTER COLUMN {quoted(there)} TYPE {kind}",
            )
    return [spelling.get(name.lower(), name) for name in names]


def _exists(connection: Any, table: Table) -> bool:
    query = (
        "SELECT count(*) FROM information_schema.tables WHERE table_catalog = current_database() "
        "AND lower(table_schema) = lower(coalesce(?, current_schema())) AND lower(table_name) = lower(?)"
    )
    return bool(connection.execute(query, [table.schema, table.name]).fetchall()[0][0])


def _kind(kind: str) -> str:
    return "VARCHAR" if kind == '"NULL"' else kind  # a column in which nothing was seen yet


def _fits(own: pa.DataType, new: pa.DataType) -> bool:
    """Whether every value of ``new`` is one of ``own`` or is refused aloud; none is changed in silence."""
    own, new = unpacked(own), unpacked(new)
    if own == new or pa.types.is_null(new):
        return True
    if pa.types.is_integer(new):
        return bool(pa.types.is_integer(own) or pa.types.is_decimal(own) or pa.types.is_float64(own))
    if pa.types.is_decimal(own) and pa.types.is_decimal(new):
        return bool(own.scale >= new.scale)
    if _texts(own) and _texts(new):
        return True
    if pa.types.is_list(own) and pa.types.is_list(new):
        return _fits(own.value_type, new.value_type)
    if pa.types.is_struct(own) and pa.types.is_struct(new):
        return all(own.get_field_index(f.name) >= 0 and _fits(own.field(f.name).type, f.type) for f in new)
    try:
        schemas = [pa.schema([("x", own)]), pa.schema([("x", new)])]
        both = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return False
    return bool(both == own) and not pa.types.is_floating(own) | pa.types.is_decimal(new)


def _texts(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
