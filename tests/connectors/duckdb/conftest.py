"""A DuckDB file of a project, asked by its own driver, and loads into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.connectors import Loaded, place_of
from loom_dagster.load import load_snapshot
from loom_dagster.spec.models import Load


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., list[tuple[Any, ...]]]:
    def run(sql: str, file: str = "shop.duckdb") -> list[tuple[Any, ...]]:
        with duckdb.connect(str(tmp_path / file)) as connection:
            return connection.execute(sql).fetchall()

    return run


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Loaded]:
    """Loads these rows; their ids are their ``id`` column."""

    def run(
        rows: list[dict[str, Any]] | pa.Table,
        mode: str = "upsert",
        *,
        to: str = "duckdb:///shop.duckdb/reviews",
        snapshot: str = "s1",
        fingerprint: str = "f",
        partition: str = "",
    ) -> Loaded:
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows)
        names = table.column_names
        table = table.append_column("_loom_record_id", table["id"].cast(pa.string()))
        pq.write_table(table, tmp_path / "transformed.parquet", row_group_size=1000)
        return load_snapshot(
            tmp_path / "transformed.parquet",
            place_of(to, tmp_path, table="pipeline"),
            load=Load(destination=to, mode=mode),
            key=("id",),
            pipeline="p",
            columns=names,
            snapshot=snapshot,
            fingerprint=fingerprint,
            partition=partition,
        )

    return run
