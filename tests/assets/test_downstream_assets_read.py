"""What the IO manager gives to those downstream, by annotation."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from loom_dagster.assets import LoomIOManager


@pytest.fixture
def ready(desk: Any) -> Any:
    desk.write("p")
    desk.script = desk.loom()
    desk.script.run("p")
    return desk


def read(desk: Any, kind: Any, role: str = "transformed") -> tuple[Any, Any]:
    """What an asset that annotates its input with `kind` gets, and the run."""
    got: list[Any] = []

    def reader(rows: Any) -> None:
        got.append(rows)

    reader.__annotations__["rows"] = kind
    asset = dg.asset(ins={"rows": dg.AssetIn(key=["p", role])})(reader)
    ran = desk.run(desk.definitions(desk.script, asset), "reader")
    return (got[0] if got else None), ran


@pytest.mark.parametrize("kind", [Any, pd.DataFrame])
def test_as_pandas(ready: Any, kind: Any) -> None:
    got, ran = read(ready, kind)
    assert isinstance(got, pd.DataFrame), ran.failures
    assert list(got["id"]) == ["a", "b"]


def test_as_arrow(ready: Any) -> None:
    got, ran = read(ready, pa.Table)
    assert isinstance(got, pa.Table), ran.failures
    assert got.column("id").to_pylist() == ["a", "b"]


def test_as_a_dataset(ready: Any) -> None:
    got, ran = read(ready, ds.Dataset)
    assert isinstance(got, ds.Dataset), ran.failures
    assert got.count_rows() == 2


def test_as_a_path(ready: Any) -> None:
    got, ran = read(ready, Path)
    assert isinstance(got, Path), ran.failures
    assert got.exists()


def test_as_something_else_is_refused_in_words(ready: Any) -> None:
    got, ran = read(ready, dict)
    assert got is None
    assert "cannot be read as" in ran.failures["reader"]
    assert "pandas.DataFrame" in ran.failures["reader"]


def test_the_snapshot_that_was_read_is_noted(ready: Any) -> None:
    _, ran = read(ready, pd.DataFrame)
    (observed,) = ran.events("ASSET_OBSERVATION")
    metadata = observed.asset_observation_data.asset_observation.metadata
    assert metadata["loom/snapshot"].value == "p-1"


def test_nothing_run_yet(desk: Any) -> None:
    desk.write("p")
    desk.script = desk.loom()
    got, ran = read(desk, pd.DataFrame)
    assert got is None
    assert ran.failures["reader"] == "`p` has released nothing to read; it has not been run"


def test_quarantine_comes_with_what_was_resolved_since(ready: Any, entry: Any, script: Any) -> None:
    from datetime import UTC, datetime

    at = datetime(2026, 3, 4, tzinfo=UTC)
    ready.script.scripts["p"] = script(status="held", quarantined=["x", "y"])
    ready.script.run("p")  # held: its quarantine is what has to be looked at
    ready.script.entries["p"] = [
        entry(record_id="x"),
        entry(record_id="y", resolved_at=at, resolution="fixed"),
    ]
    got, ran = read(ready, pa.Table, "quarantine")
    assert got is not None, ran.failures
    assert got.select(["record_id", "resolved_at", "resolution"]).to_pylist() == [
        {"record_id": "x", "resolved_at": None, "resolution": None},
        {"record_id": "y", "resolved_at": at, "resolution": "fixed"},
    ]


def test_what_was_loaded_is_read_where_it_lies(ready: Any) -> None:
    @dg.asset(ins={"rows": dg.AssetIn(key=["file", "data", "out", "p.parquet"])})
    def reader(rows: Any) -> None: ...

    ran = ready.run(ready.definitions(ready.script, reader), "reader")
    assert "depend on it with `deps=[...]`" in ran.failures["reader"]


def test_nothing_is_ever_written_or_pickled(ready: Any) -> None:
    @dg.asset(io_manager_key="loom_io_manager")
    def writer() -> int:
        return 1

    ran = ready.run(ready.definitions(ready.script, writer), "writer")
    assert "reads what pipelines release and writes nothing" in ran.failures["writer"]
    assert isinstance(ready.definitions(ready.script).resources["loom_io_manager"], LoomIOManager)
