"""Shipments into real databases, and what is there afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from loom_dagster.connections import Connection
from loom_dagster.connectors import Loaded, Shipment, place_of
from loom_dagster.connectors.sql.destination import SqlDestination
from loom_dagster.connectors.sql.engines import url_of
from loom_dagster.spec.models import Load


@dataclass(frozen=True)
class Incoming:
    """A table on its way; its ids are its first column as text."""

    table: pa.Table
    at_once: int = 3

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def rows(self) -> int:
        return self.table.num_rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        return iter(self.table.to_batches(max_chunksize=self.at_once))

    def with_ids(self) -> Iterator[tuple[list[str], pa.RecordBatch]]:
        for batch in self.batches():
            yield [str(value) for value in batch.column(0).to_pylist()], batch


class Database:
    """One empty database, as a connection ``db``."""

    def __init__(self, kind: str, url: str, server: Any = None) -> None:
        self.kind, self.url, self.server = kind, url, server
        self.connection = Connection(name="db", url=url, connect_timeout=5, query_timeout=60)
        self.engine = sa.create_engine(url_of(self.connection), poolclass=sa.NullPool)
        self.destination = SqlDestination(sleep=lambda _: pytest.fail("it was not loaded at once"))

    @property
    def is_postgres(self) -> bool:
        return self.kind == "postgres"

    def place(self, name: str = "t", root: Path = Path()) -> Any:
        return place_of(f"{self.kind}://db/{name}", root, connections={"db": self.connection})

    def load(
        self,
        rows: list[dict[str, Any]] | pa.Table,
        *,
        table: str = "t",
        mode: str = "upsert",
        key: Sequence[str] = ("id",),
        snapshot: str = "s1",
        fingerprint: str = "f",
        partition: str = "",
        at_once: int = 3,
    ) -> Loaded:
        incoming = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows)
        shipment = Shipment(
            incoming=Incoming(incoming, at_once), mode=mode, key=tuple(key), pipeline="p", snapshot=snapshot,
            fingerprint=fingerprint, partition=partition,
        )  # fmt: skip
        place = self.place(table)
        return self.destination.load(place, Load(destination=place.uri, mode=mode), shipment)

    def check(self, table: str = "t", *, reach: bool = True, **load: Any) -> None:
        place = self.place(table)
        self.destination.check(place, Load(destination=place.uri, **load), reach=reach)

    def run(self, *statements: str) -> list[Any]:
        """Runs SQL as a person would; gives the rows of the last statement."""
        with self.engine.begin() as connection:
            for statement in statements:
                done = connection.exec_driver_sql(
                    statement.replace("`", "`" if self.kind == "mysql" else '"')
                )
            return [tuple(row) for row in done] if done.returns_rows else []

    def rows(self, columns: str = "id, v", table: str = "t") -> list[Any]:
        names = columns.split(", ")
        first = ", ".join(str(n + 1) for n in range(min(2, len(names))) if names[n] in ("id", "v", "a", "b"))
        chosen = ", ".join(f"`{name}`" for name in names)
        return self.run(f"SELECT {chosen} FROM {table}" + (f" ORDER BY {first}" if first else ""))


def _database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if kind == "sqlite":
        return Database(kind, f"sqlite:///{tmp_path}/x.db")
    server = request.getfixturevalue("postgres" if kind == "postgres" else "mariadb")
    return Database(kind, server.database(), server)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.service),
        pytest.param("mysql", marks=pytest.mark.service),
    ]
)
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Each kind of database."""
    return _database(request.param, request, tmp_path)


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Database]:
    """The database of a kind: sqlite, postgres or mysql."""
    return lambda kind: _database(kind, request, tmp_path)
