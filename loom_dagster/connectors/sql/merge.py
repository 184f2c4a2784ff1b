"""From the staging table into the target, set by set: what append, overwrite and upsert are in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from loom_dagster.connectors.contract import Shipment
from loom_dagster.connectors.sql.column_types import column_family
from loom_dagster.connectors.sql.ddl import LockTable
from loom_dagster.connectors.sql.refusals import halving
from loom_dagster.connectors.sql.staging import Staged
from loom_dagster.connectors.sql.target import PARTITION, Target
from loom_dagster.errors import Misconfigured

__all__ = ["emptied", "is_empty", "merged"]


def is_empty(connection: Connection, table: sa.Table | None) -> bool:
    """Whether a table has no row."""
    return table is None or connection.scalar(sa.select(sa.literal(1)).select_from(table).limit(1)) is None


def emptied(connection: Connection, target: Target, shipment: Shipment) -> None:
    """Takes out what an overwrite, or a load of a partition, replaces. By DELETE: readers see the old rows until it is all done."""
    rows = sa.delete(target.table)
    if shipment.partition:
        rows = rows.where(target.column(PARTITION) == shipment.partition)
    connection.execute(rows)


def merged(connection: Connection, target: Target, rows: Staged, shipment: Shipment) -> dict[int, str]:
    """Puts the staged rows into the target. Gives those that the database refuses, with its words.

    Upsert is an UPDATE of what is there and an INSERT of what is not; of a partition also a DELETE of the rows that came
    with it before and are not in it any more. Where a unique index covers the key, a row
    that another program adds in between is refused, and then updated when it is tried alone; where none does, other
    writers wait (PostgreSQL, SQLite).
    """
    source = rows.table
    values = {name: _value(target.column(name), source.c[at], connection) for name, at in rows.names.items()}
    insert, names = sa.select(*values.values()), [target.names[name] for name in values]
    if shipment.partition and PARTITION not in rows.names:
        insert, names = insert.add_columns(sa.literal(shipment.partition)), [*names, target.names[PARTITION]]
    update: sa.Update | None = None
    refused: dict[int, str] = {}
    same: list[sa.ColumnElement[bool]] = []
    if shipment.mode == "upsert":
        keys = {name: _compared(target.column(name), values[name], connection) for name in shipment.key}
        refused = _unsound(connection, rows, list(keys.values()))
        same = [target.column(name) == value for name, value in keys.items()]
        if not target.unique:
            _check_keys(connection, target, rows, same, shipment.key)
        changed = {target.names[name]: value for name, value in values.items() if name not in keys}
        if shipment.partition:
            changed[target.names[PARTITION]] = sa.literal(shipment.partition)
        update = sa.update(target.table).values(changed).where(*same) if changed else None
        insert = insert.where(~sa.exists().where(*same).correlate(source))

    def put(start: int, end: int) -> None:
        some = rows.some(start, end)
        if update is not None:
            updated = connection.execute(update.where(*some)).rowcount
            if target.unique and updated == end - start:  # every one was there
                return
        chosen = insert.where(*some)
        connection.execute(sa.insert(target.table).from_select(names, chosen, include_defaults=False))

    refused |= halving(connection, 0, rows.rows, put, first=rows.by_number) if rows.rows else {}
    rows.drop(refused)
    if shipment.mode == "upsert" and shipment.partition:
        gone = ~sa.exists(sa.select(sa.literal(1)).select_from(source).where(*same).correlate(target.table))
        of_it = target.column(PARTITION) == shipment.partition
        connection.execute(sa.delete(target.table).where(of_it, gone))
    return refused


def _value(column: sa.Column[Any], staged: sa.Column[Any], connection: Connection) -> sa.ColumnElement[Any]:
    """What goes into the column. PostgreSQL makes a JSON document, a UUID or a number of a text when it is told to;
    a text stays as it is, for a cast to VARCHAR(n) would cut it."""
    kind = column.type
    if connection.dialect.name != "postgresql" or isinstance(kind, sa.types.NullType):
        return staged
    if isinstance(staged.type, sa.Text) and column_family(kind) != "text":
        return sa.cast(staged, kind)
    return staged


def _compared(
    column: sa.Column[Any], value: sa.ColumnElement[Any], connection: Connection
) -> sa.ColumnElement[Any]:
    """The same for a comparison with the column."""
    if connection.dialect.name == "mysql" and column_family(column.type) in (
        "date",
        "timestamp",
        "time",
        "decimal",
    ):
        return sa.cast(value, column.type)
    return value


def _unsound(connection: Connection, rows: Staged, keys: Sequence[sa.ColumnElement[Any]]) -> dict[int, str]:
    """Takes rows out whose key is none in this database, and those that repeat the key of an earlier row: texts
    that differ may be one key under a collation or as numbers."""
    refused: dict[int, str] = {}
    if any(isinstance(key, sa.Cast) for key in keys):

        def read(start: int, end: int) -> None:
            connection.execute(sa.select(*map(sa.func.count, keys)).where(*rows.some(start, end)))

        refused = halving(connection, 0, rows.rows, read, first=rows.by_number) if rows.rows else {}
        rows.drop(refused)
    repeated = sa.select(sa.literal(1)).select_from(rows.table).group_by(*keys).having(sa.func.count() > 1)
    if connection.scalar(repeated.limit(1)) is not None:
        number = sa.func.row_number().over(partition_by=keys, order_by=rows.table.c.n).label("nth")
        counted = sa.select(rows.table.c.n, number).subquery()
        again = list(connection.scalars(sa.select(counted.c.n).where(counted.c.nth > 1)))
        refused |= dict.fromkeys(again, "another row of this load has the same key")
        rows.drop(again)
    return refused


def _check_keys(
    connection: Connection, target: Target, rows: Staged, same: Sequence[sa.ColumnElement[bool]], key: Sequence[str]
) -> None:  # fmt: skip
    if connection.dialect.name == "postgresql":
        connection.execute(LockTable(target.table))
    source = rows.table
    matches = sa.select(sa.literal(1)).select_from(source.join(target.table, sa.and_(*same)))
    twice = matches.group_by(source.c.n).having(sa.func.count() > 1).limit(1)
    if connection.scalar(twice) is not None:
        raise Misconfigured(
            f"{target.table.name} has two rows of one key ({', '.join(key)})",
            why="an upsert would not know which of them is meant",
            fix="remove the repeated rows and make a unique index on the key",
        )
