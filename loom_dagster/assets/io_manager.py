"""What assets downstream get to read: the latest released snapshot, never a held one.

    @dg.asset(ins={"reviews": dg.AssetIn(key=["customer_sentiment", "transformed"])})
    def weekly(reviews: pandas.DataFrame): ...

The annotation says how: pandas.DataFrame (also without one), pyarrow.Table,
pyarrow.dataset.Dataset, or pathlib.Path. Nothing is ever pickled.

Of a pipeline with partitions it is those that the asset's own partition depends on; several are one table, partition
after partition, those left out that are not released. As files they are a dict[str, pathlib.Path] by their keys.

`quarantine` is for those who look into what failed, and a held batch needs that most: it is read
from the newest snapshot, with what has been resolved since. As a Path it is the file as it was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.graph import Node
from loom_dagster.assets.partitions import partitioning_of
from loom_dagster.assets.ranges import of
from loom_dagster.clock import SystemClock

if TYPE_CHECKING:
    import pyarrow as pa

    from loom_dagster.assets.runs import Runs
    from loom_dagster.release import Snapshot

__all__ = ["IO_MANAGER_KEY", "LoomIOManager"]

IO_MANAGER_KEY = "loom_io_manager"
_READABLE = "pandas.DataFrame, pyarrow.Table, pyarrow.dataset.Dataset, pathlib.Path"


class LoomIOManager(dg.IOManager):
    """Reads for those downstream. ``nodes``: every asset of the project by its key."""

    def __init__(self, runs: Runs, nodes: Mapping[dg.AssetKey, Node]) -> None:
        self._runs = runs
        self._nodes = nodes

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Refused: a pipeline writes its snapshots itself."""
        raise dg.Failure(
            f"`{IO_MANAGER_KEY}` reads what pipelines release and writes nothing; give the asset that"
            " returns a value another io_manager_key",
            allow_retries=False,
        )

    def load_input(self, context: dg.InputContext) -> Any:
        """The snapshot in the annotated type. Raises dagster.Failure with the reason when there is none."""
        node = self._nodes.get(context.asset_key)
        if node is None or node.pipeline is None or node.role not in {"transformed", "quarantine"}:
            raise dg.Failure(
                f"{context.asset_key.to_user_string()} lies at its destination, not with Loom: depend on it"
                " with `deps=[...]` and read it from there",
                allow_retries=False,
            )
        keys = _keys(context, node)
        wanted = _wanted(context, several=partitioning_of(node) is not None)
        found = {key: self._snapshot(node, key) for key in keys}
        there = {key: snapshot for key, snapshot in found.items() if snapshot is not None}
        if not there:
            raise self._nothing(node.pipeline, keys)
        if len(keys) == 1:  # Dagster makes an observation of one partition of it
            context.add_input_metadata({"loom/snapshot": there[keys[0]].id})
        passed = node.role == "transformed"
        paths = {key: s.transformed if passed else s.quarantine for key, s in there.items()}
        if wanted == "dict":
            return paths
        if wanted == "Path":
            return self._one_path(context, paths)
        tables = [
            table if passed else self._resolved(node.pipeline, key, table)
            for key, table in ((key, _table(path)) for key, path in paths.items())
        ]
        return _as(_together(tables), wanted)

    def _snapshot(self, node: Node, key: str) -> Snapshot | None:
        passed, pipeline = node.role == "transformed", node.pipeline or ""
        return self._runs.released(pipeline, key) if passed else self._runs.verdict(pipeline, key)

    def _one_path(self, context: dg.InputContext, paths: Mapping[str, Path]) -> Path:
        if len(paths) > 1:
            raise dg.Failure(
                f"{context.asset_key.to_user_string()} is read in {len(paths)} partitions, each a file of its own;"
                " annotate the input as dict[str, pathlib.Path]",
                allow_retries=False,
            )
        return next(iter(paths.values()))

    def _nothing(self, pipeline: str, keys: Sequence[str]) -> dg.Failure:
        newest = self._runs.verdict(pipeline, keys[0]) if len(keys) == 1 else None
        state = f"its newest batch is held: {newest.verdict_reason}" if newest else "it has not been run"
        if len(keys) > 1:
            state = f"none of {len(keys)} partitions is released"
        elif keys and keys[0]:
            state = f"of partition {keys[0]}: {state}"
        return dg.Failure(f"`{pipeline}` has released nothing to read; {state}", allow_retries=False)

    def _resolved(self, pipeline: str, key: str, table: pa.Table) -> pa.Table:
        """``table`` with what the ledger knows by now of each record."""
        import pyarrow as pa

        entries = {
            entry.record_id: entry for entry in self._runs.quarantine(pipeline, resolved=True, **of(key))
        }
        found = [entries.get(record_id) for record_id in table.column("record_id").to_pylist()]
        at = pa.array([e.resolved_at if e else None for e in found], pa.timestamp("us", tz="UTC"))
        how = pa.array([e.resolution if e else None for e in found], pa.string())
        for name, column in (("resolved_at", at), ("resolution", how)):
            place = table.column_names.index(name) if name in table.column_names else None
            table = (
                table.append_column(name, column) if place is None else table.set_column(place, name, column)
            )
        return table


def _wanted(context: dg.InputContext, *, several: bool) -> str:
    """The name of the annotated type (``several``: a dict of files may be meant), without importing the libraries it may come from."""
    kind = context.dagster_type.typing_type
    names = {
        ("typing", "Any"): "DataFrame",
        ("pandas", "DataFrame"): "DataFrame",
        ("pyarrow", "Table"): "Table",
        ("pyarrow", "Dataset"): "Dataset",
        ("pathlib", "Path"): "Path",
        **({("builtins", "dict"): "dict", ("typing", "Dict"): "dict"} if several else {}),
    }
    module = str(getattr(kind, "__module__", "")).partition(".")[0]
    name = names.get((module, str(getattr(kind, "__name__", kind))))
    if name is None:
        raise dg.Failure(
            f"{context.asset_key.to_user_string()} cannot be read as {kind}; annotate the input as one of"
            f" {_READABLE}",
            allow_retries=False,
        )
    return name


def _keys(context: dg.InputContext, node: Node) -> Sequence[str]:
    """The partitions that the asset downstream asks for; "" where there are none."""
    parts = partitioning_of(node)
    if parts is None:
        return [""]
    if context.has_asset_partitions:
        return list(context.asset_partition_keys)
    return parts.keys(SystemClock().now())


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    """Partition after partition; a column that one lacks is null there."""
    import pyarrow as pa

    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="permissive")


def _table(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(path)


def _as(table: pa.Table, wanted: str) -> Any:
    if wanted == "Table":
        return table
    if wanted == "Dataset":
        import pyarrow.dataset as ds

        return ds.dataset(table)
    return table.to_pandas()
