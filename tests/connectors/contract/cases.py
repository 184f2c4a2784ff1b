"""Every connector, as the contract's tests meet it: where it is, and how its rows are made and looked at without it.

docs/generate.py makes the table of connectors and guarantees from ``CASES`` and the tests' docstrings.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from loom_dagster.connections import Connection
from loom_dagster.connectors import (
    CHUNK_BYTES,
    Loaded,
    Place,
    Shipment,
    State,
    Wanted,
    Watchable,
    Window,
    destination_at,
    place_of,
    source_at,
)
from loom_dagster.spec.models import Extract, Load

__all__ = ["CASES", "Bench", "Case", "Rows"]


class Rows:
    """A snapshot's rows: ``id`` is their record id."""

    def __init__(
        self, table: pa.Table, ids: Sequence[str] | None = None, fail_after: int | None = None
    ) -> None:
        self.schema, self.rows = table.schema, table.num_rows
        self._table, self._fail_after = table, fail_after
        self._ids = [str(i) for i in table.column("id").to_pylist()] if ids is None else list(ids)

    def batches(self) -> Iterator[pa.RecordBatch]:
        for _, batch in self.with_ids():
            yield batch

    def with_ids(self) -> Iterator[tuple[list[str], pa.RecordBatch]]:
        at = 0
        for batch in self._table.to_batches(max_chunksize=3):
            if self._fail_after is not None and at >= self._fail_after:
                raise OSError("the disk is gone")
            yield self._ids[at : at + batch.num_rows], batch
            at += batch.num_rows


@dataclass
class Bench:
    """One connector with a place of its own for one test."""

    case: Case
    root: Path
    url: str = ""
    bucket: str = ""
    server: Any = None
    connections: dict[str, Connection] = field(default_factory=dict)

    def uri(self, table: str = "reviews") -> str:
        return self.case.uri.format(table=table, bucket=self.bucket, url=self.url)

    def place(self, table: str = "reviews") -> Place:
        return place_of(self.uri(table), self.root, table=table, connections=self.connections)

    def make(self, rows: pa.Table, table: str = "reviews") -> None:
        self.case.make(self, rows, table)

    def look(self, table: str = "reviews") -> list[dict[str, Any]]:
        return self.case.look(self, table)

    def read(
        self,
        table: str = "reviews",
        *,
        window: Window | None = None,
        rows: int = 8192,
        values: dict[str, Any] | None = None,
        **extract: Any,
    ) -> pa.Table:
        """All rows through the connector."""
        given = Extract(source=self.uri(table), **extract)
        place = self.place(table)
        opened = source_at(place).open(
            place, Wanted(extract=given, window=window, rows=rows, values=values or {})
        )
        try:
            chunks = list(opened.chunks())
            assert all(chunk.table.nbytes <= CHUNK_BYTES for chunk in chunks)
            assert not any(chunk.unreadable for chunk in chunks)
            return pa.Table.from_batches([chunk.table for chunk in chunks], schema=opened.schema)
        finally:
            opened.close()

    def state(self, cursor: str, *, table: str = "reviews", start: Any = None) -> State:
        """How the place looks from outside."""
        given = Extract(source=self.uri(table), incremental={"cursor": cursor})
        place, source = self.place(table), source_at(self.place(table))
        assert isinstance(source, Watchable)
        window = None if start is None else Window(column=cursor, start=start)
        return source.state(place, Wanted(extract=given, window=window))

    def load(
        self,
        rows: pa.Table | Rows,
        mode: str = "upsert",
        *,
        table: str = "reviews",
        key: tuple[str, ...] = ("id",),
        snapshot: str = "s1",
        fingerprint: str = "f",
        partition: str = "",
    ) -> Loaded:
        place = self.place(table)
        shipment = Shipment(
            incoming=rows if isinstance(rows, Rows) else Rows(rows),
            mode=mode,
            key=key if mode == "upsert" else (),
            pipeline="p",
            snapshot=snapshot,
            fingerprint=fingerprint,
            partition=partition,
        )
        return destination_at(place).load(place, Load(destination=self.uri(table), mode=mode), shipment)


@dataclass(frozen=True)
class Case:
    """A connector. ``uri`` with ``{table}``; ``server`` is the fixture it needs; ``types`` are kept as they
    are, ``zones`` of times too, ``queries`` are taken, ``refuses`` single rows; ``reads``/``writes`` say which ways it serves;
    ``watched``: it tells how it looks without being read."""

    name: str
    uri: str
    make: Callable[[Bench, pa.Table, str], None]
    look: Callable[[Bench, str], list[dict[str, Any]]]
    server: str = ""
    types: bool = True
    zones: bool = True
    queries: bool = False
    refuses: bool = False
    reads: bool = True
    writes: bool = True
    watched: bool = True
    narrow: Callable[[Bench], None] | None = None

    def __str__(self) -> str:
        return self.name

    def bench(self, request: pytest.FixtureRequest, root: Path) -> Bench:
        bench = Bench(self, root)
        if self.server:
            bench.server = request.getfixturevalue(self.server)
        if self.server == "s3":
            bench.bucket = bench.server.bucket()
        elif self.server == "web":
            bench.url = bench.server.url
        elif self.server:
            bench.url = bench.server.database()
            bench.connections["db"] = Connection(name="db", url=bench.url)
        return bench


def _duck(bench: Bench) -> Any:
    import duckdb

    connection = duckdb.connect(bench.root / "shop.duckdb")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _make_duck(bench: Bench, rows: pa.Table, table: str) -> None:
    with _duck(bench) as connection:
        connection.register("given", rows)
        connection.execute(f"CREATE TABLE {table} AS SELECT * FROM given")


def _look_at_duck(bench: Bench, table: str) -> list[dict[str, Any]]:
    with _duck(bench) as connection:
        return connection.sql(f"SELECT * FROM {table}").to_arrow_table().to_pylist()


def _object(bench: Bench, table: str) -> tuple[str, str]:
    bucket, _, key = bench.uri(table).removeprefix("s3://").partition("/")
    return bucket, key


def _make_object(bench: Bench, rows: pa.Table, table: str) -> None:
    sink = io.BytesIO()
    pq.write_table(rows, sink)
    bench.server.write(*_object(bench, table), sink.getvalue())


def _look_at_object(bench: Bench, table: str) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(bench.server.data(*_object(bench, table)))).to_pylist()


def _make_page(bench: Bench, rows: pa.Table, table: str) -> None:
    pa.csv.write_csv(rows, bench.server.folder / f"{table}.csv")


def _no_look(bench: Bench, table: str) -> list[dict[str, Any]]:
    raise NotImplementedError("nothing is loaded to the web")


def _make_file(bench: Bench, rows: pa.Table, table: str) -> None:
    path = bench.root / bench.uri(table)
    match path.suffix:
        case ".parquet":
            pq.write_table(rows, path)
        case ".csv":
            pa.csv.write_csv(rows, path)
        case ".jsonl":
            path.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows.to_pylist()))
        case _:
            path.write_text(json.dumps(rows.to_pylist(), default=str))


def _look_at_file(bench: Bench, table: str) -> list[dict[str, Any]]:
    path = bench.root / bench.uri(table)
    match path.suffix:
        case ".parquet":
            return pq.read_table(path).to_pylist()
        case ".csv":
            texts = pa.csv.ConvertOptions(
                column_types=dict.fromkeys(
                    path.read_text().partition("\n")[0].replace('"', "").split(","), pa.string()
                ),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            )
            return pa.csv.read_csv(path, convert_options=texts).to_pylist()
        case ".jsonl":
            return [json.loads(line) for line in path.read_text().splitlines()]
        case _:
            return json.loads(path.read_text())


_SQL_TYPES = {
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE PRECISION",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    pa.timestamp("us"): "TIMESTAMP",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
    pa.string(): "TEXT",
}


def _engine(bench: Bench) -> Engine:
    drivers = {"postgresql": "postgresql+psycopg2", "mysql": "mysql+pymysql"}
    url = make_url(bench.url)
    return create_engine(url.set(drivername=drivers.get(url.drivername, url.drivername)), poolclass=NullPool)


def _make_table(bench: Bench, rows: pa.Table, table: str) -> None:
    engine = _engine(bench)
    types = dict(_SQL_TYPES)
    if engine.dialect.name == "mysql":
        types[pa.timestamp("us")] = "DATETIME(6)"
    columns = ", ".join(f"{f.name} {types[f.type]}" for f in rows.schema)
    marks = ", ".join(f":{name}" for name in rows.column_names)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {table} ({columns})"))
        connection.execute(text(f"INSERT INTO {table} VALUES ({marks})"), rows.to_pylist())


def _look_at_table(bench: Bench, table: str) -> list[dict[str, Any]]:
    with _engine(bench).connect() as connection:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]


def _alter(statement: str) -> Callable[[Bench], None]:
    def narrow(bench: Bench) -> None:
        with _engine(bench).begin() as connection:
            connection.execute(text(statement))

    return narrow


CASES = [
    Case(
        "PostgreSQL",
        "postgres://db/{table}",
        _make_table,
        _look_at_table,
        server="postgres",
        queries=True,
        refuses=True,
        narrow=_alter("ALTER TABLE reviews ALTER COLUMN label TYPE varchar(10)"),
    ),
    Case(
        "MariaDB, MySQL",
        "mysql://db/{table}",
        _make_table,
        _look_at_table,
        server="mariadb",
        zones=False,
        queries=True,
        refuses=True,
        narrow=_alter("ALTER TABLE reviews MODIFY label varchar(10)"),
    ),
    Case(
        "SQLite",
        "sqlite://db/{table}",
        _make_table,
        _look_at_table,
        server="sqlite_file",
        zones=False,
        queries=True,
    ),
    Case("DuckDB", "duckdb:///shop.duckdb/{table}", _make_duck, _look_at_duck, queries=True, refuses=False),
    Case("S3 (Parquet)", "s3://{bucket}/{table}.parquet", _make_object, _look_at_object, server="s3"),
    Case(
        "Web (CSV)",
        "{url}/{table}.csv",
        _make_page,
        _no_look,
        server="web",
        types=False,
        writes=False,
        watched=False,
    ),
    Case("Parquet", "{table}.parquet", _make_file, _look_at_file),
    Case("CSV", "{table}.csv", _make_file, _look_at_file, types=False),
    Case("JSON Lines", "{table}.jsonl", _make_file, _look_at_file, types=False),
    Case("JSON", "{table}.json", _make_file, _look_at_file, types=False),
]
