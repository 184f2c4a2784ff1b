"""Snapshots as a run writes them, and destinations read back as a user would."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.connectors import place_of
from loom_dagster.connectors.files import expand, locate
from loom_dagster.connectors.files.formats import Reading, format_of
from loom_dagster.load import load_snapshot
from loom_dagster.spec.models import Load


@pytest.fixture(autouse=True)
def no_cloud_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a plain installation has it, whatever is installed here."""
    for driver in ("gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, driver, None)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., int]:
    """Loads these rows; their ids are their ``id`` column."""

    def run(
        destination: str,
        rows: list[dict[str, Any]],
        *,
        mode: str | None = None,
        key: tuple[str, ...] = ("id",),
        schema: pa.Schema | None = None,
        columns: list[str] | None = None,
        snapshot: str = "s1",
        fingerprint: str = "f",
        partition: str = "",
        form: str | None = None,
    ) -> int:
        table = pa.Table.from_pylist(rows, schema=schema)
        ids = pa.array([str(row["id"]) for row in rows], pa.string())
        table = table.append_column("_loom_record_id", ids).append_column("_loom_run_id", ids)
        folder = tmp_path / ".loom"
        folder.mkdir(exist_ok=True)
        pq.write_table(table, folder / "transformed.parquet", row_group_size=3)
        names = (
            columns if columns is not None else [n for n in table.column_names if not n.startswith("_loom_")]
        )
        return load_snapshot(
            folder / "transformed.parquet",
            place_of(destination, tmp_path),
            load=Load(destination=destination, mode=mode, format=form),
            key=key,
            pipeline="p",
            columns=names,
            snapshot=snapshot,
            fingerprint=fingerprint,
            partition=partition,
        ).rows

    return run


@pytest.fixture
def rows_in(tmp_path: Path) -> Callable[[str], list[dict[str, Any]]]:
    def read(uri: str) -> list[dict[str, Any]]:
        files = expand(locate(uri, tmp_path))
        form = format_of(files[0].path)
        assert form is not None
        schema = form.schema(files, Reading())
        return [row for chunk in form.chunks(files, schema, Reading()) for row in chunk.table.to_pylist()]

    return read
