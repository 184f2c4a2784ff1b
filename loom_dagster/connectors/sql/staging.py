"""The staging table: a shipment's rows beside the target, on one connection, before anything is merged."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable

from loom_dagster.connectors.contract import Shipment
from loom_dagster.connectors.sql.binary_copy import copy_bytes
from loom_dagster.connectors.sql.carriers import carried, carrier_type, driver_rows, staged_type
from loom_dagster.connectors.sql.marks import mark_type, marks_of
from loom_dagster.connectors.sql.refusals import halving
from loom_dagster.connectors.sql.target import Target

__all__ = ["Staged", "staged"]

_ROWS, _BYTES = 16_384, 8 * 1024 * 1024  # of one COPY or executemany, about


class Staged:
    """``table`` holds the rows, numbered from 0 to ``rows`` in column ``n``; ``names``: its column for each of
    the shipment's. ``refused``: numbers of rows that could not be staged, with the database's words."""

    def __init__(self, connection: Connection, table: sa.Table, names: Mapping[str, str]) -> None:
        self.table, self.names = table, names
        self.rows = 0
        self.refused: dict[int, str] = {}
        self._connection, self._numbered = connection, connection.dialect.name != "postgresql"

    def some(self, start: int, end: int) -> list[sa.ColumnElement[bool]]:
        """What is true of the rows from ``start`` to ``end``; nothing where that is all of them."""
        whole = start == 0 and end == self.rows
        return [] if whole else [self.table.c.n >= start, self.table.c.n < end]

    def by_number(self) -> None:
        """Makes ``some`` fast: an index that only a load with refused rows needs."""
        if not self._numbered:
            self._connection.execute(CreateIndex(sa.Index("_loom_staged_n", self.table.c.n)))
            self._numbered = True

    def drop(self, rows: Iterable[int]) -> None:
        """Takes rows out again."""
        for n in rows:
            self._connection.execute(sa.delete(self.table).where(self.table.c.n == n))


def staged(connection: Connection, target: Target, shipment: Shipment, *, marked: bool) -> Staged:
    """The rows of a shipment in a temporary table that ends with the transaction or the connection."""
    dialect, schema = connection.dialect.name, shipment.incoming.schema
    fields = [field for field in schema if field.name in target.names]
    collations = _collations(connection, target) if dialect == "mysql" else {}
    names = {field.name: f"c{number}" for number, field in enumerate(fields)}
    columns = [
        sa.Column(
            names[f.name],
            staged_type(carrier_type(f.type, dialect), dialect, collations.get(target.names[f.name])),
        )
        for f in fields
    ]
    table = sa.Table(
        "_loom_staged",
        sa.MetaData(),
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=dialect != "postgresql",
                  autoincrement=False),  # PostgreSQL gets an index when it needs one
        *([sa.Column("mark", mark_type(dialect))] if marked else []),
        *columns,
        prefixes=["TEMPORARY"],
        schema=target.table.schema if dialect == "mysql" else None,
        postgresql_on_commit="DROP",
        mysql_engine="InnoDB",
    )  # fmt: skip
    connection.execute(CreateTable(table))
    result = Staged(connection, table, names)
    put = _copy(connection, table) if dialect == "postgresql" else _insert(connection, table)
    longest = _longest_row(connection)
    for ids, batch in _batches(shipment):
        _stage(connection, result, batch.select(list(names)), put, longest,
               marks_of(ids, shipment.partition, shipment.fingerprint) if marked else None)  # fmt: skip
    if dialect == "postgresql":
        connection.exec_driver_sql("ANALYZE _loom_staged")
    return result


def _stage(
    connection: Connection, result: Staged, batch: pa.RecordBatch, put: Callable[[list[pa.Array]], None],
    longest: int, marks: list[bytes] | None,
) -> None:  # fmt: skip
    first, rows = result.rows, batch.num_rows
    columns = [pa.array(range(first, first + rows), pa.int64())]
    if marks is not None:
        columns.append(pa.array(marks, pa.large_binary()))
    columns += carried(batch, connection.dialect.name)
    result.rows += rows
    if longest and (too_long := _too_long(columns, longest)):
        kept = pa.array([n not in too_long for n in range(rows)])
        columns = [column.filter(kept) for column in columns]
        words = f"a row of more than {longest} bytes does not fit into half of max_allowed_packet"
        result.refused |= {first + n: words for n in too_long}
    numbers = columns[0].to_pylist()

    def put_some(start: int, end: int) -> None:
        put([column.slice(start, end - start) for column in columns])

    refused = halving(connection, 0, len(numbers), put_some) if numbers else {}
    result.refused |= {numbers[n]: words for n, words in refused.items()}


def _batches(shipment: Shipment) -> Iterator[tuple[list[str], pa.RecordBatch]]:
    """The shipment's batches, small ones joined."""
    ids: list[str] = []
    batches: list[pa.RecordBatch] = []
    for some, batch in shipment.incoming.with_ids():
        ids, batches = ids + some, [*batches, batch]
        if len(ids) >= _ROWS or sum(b.nbytes for b in batches) >= _BYTES:
            yield ids, _joined(batches)
            ids, batches = [], []
    if ids:
        yield ids, _joined(batches)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches)
    columns = [pa.concat_arrays(column.chunks) for column in table.columns]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def _copy(connection: Connection, table: sa.Table) -> Callable[[list[pa.Array]], None]:
    columns = ", ".join(column.name for column in table.c)  # of our own making: n, mark, c0, c1, ...
    statement = f"COPY {table.name} ({columns}) FROM STDIN (FORMAT binary)"
    raw: Any = connection.connection.dbapi_connection
    failures = connection.dialect.loaded_dbapi.Error

    def put(values: list[pa.Array]) -> None:
        try:
            with raw.cursor() as cursor:
                cursor.copy_expert(statement, io.BytesIO(copy_bytes(values)), 1 << 20)
        except failures as error:
            raise DBAPIError("COPY", None, error, connection_invalidated=bool(raw.closed)) from error

    return put


def _insert(connection: Connection, table: sa.Table) -> Callable[[list[pa.Array]], None]:
    preparer = connection.dialect.identifier_preparer
    mark = "%s" if connection.dialect.name == "mysql" else "?"
    columns, marks = ", ".join(column.name for column in table.c), ", ".join(mark for _ in table.c)
    statement = f"INSERT INTO {preparer.format_table(table)} ({columns}) VALUES ({marks})"  # noqa: S608 - our own names

    def put(values: list[pa.Array]) -> None:
        connection.exec_driver_sql(statement, driver_rows(values))

    return put


def _collations(connection: Connection, target: Target) -> dict[str, str]:
    """Of the target's texts: a staged text is compared as the target's own are, by its index."""
    names = ("column_name", "collation_name", "table_name", "table_schema")
    facts = sa.table("columns", *map(sa.column, names), schema="information_schema")
    query = sa.select(facts.c.column_name, facts.c.collation_name).where(
        facts.c.table_name == target.table.name, facts.c.table_schema == target.table.schema
    )
    return {name: c for name, c in connection.execute(query) if c and c.startswith("utf8mb4_")}


def _longest_row(connection: Connection) -> int:
    """Bytes; 0 where a row may be as long as it likes. A longer one would end MySQL's connection."""
    if connection.dialect.name != "mysql":
        return 0
    return int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one()) // 2


def _too_long(columns: list[pa.Array], longest: int) -> set[int]:
    if sum(column.nbytes for column in columns) <= longest:
        return set()
    total = pa.array([0] * len(columns[0]), pa.int64())
    for column in columns:
        if pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type):
            total = pc.add(total, pc.fill_null(pc.binary_length(column), 0))
    return {n for n, length in enumerate(total.to_pylist()) if length > longest}
