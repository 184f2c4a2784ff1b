"""Trying quarantined records again: their rows as they were read, and the snapshot that comes of it.

The new snapshot is the old one plus what passes now, by record id; nothing that passed before is
touched, and what fails again stays in quarantine with what is known of it now.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loom_dagster.errors import Misconfigured
from loom_dagster.records import Batch, Record, digest
from loom_dagster.release.columns import DEFERRED, POSITION, QUARANTINE, RECORD_ID, transformed_schema
from loom_dagster.release.snapshot import Snapshot, Written
from loom_dagster.release.snapshot_writer import FolderWriter

__all__ = ["Replay", "check_replay", "merge_retry", "rows_for_retry"]

_Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Rows of the source that are to be tried again, with exact types, in the source's order."""

    table: pa.Table
    ids: Sequence[str]
    positions: Sequence[int]

    def batches(self, size: int) -> Iterator[Batch]:
        """As the source would have given them."""
        for index, start in enumerate(range(0, self.table.num_rows, size)):
            rows = self.table.slice(start, size).combine_chunks()
            columns = rows.to_pylist()
            records = [
                Record(id=self.ids[start + i], position=self.positions[start + i], row=i, columns=row)
                for i, row in enumerate(columns)
            ]
            [batch] = rows.to_batches() if rows.num_columns else [pa.RecordBatch.from_pylist(columns)]
            yield Batch(index=index, table=batch, records=records)


def rows_for_retry(snapshot: Snapshot, ids: Sequence[str] | None = None) -> Replay:
    """The rows of ``ids`` in the quarantine of ``snapshot``; of all that can be tried again by default.

    Raises Misconfigured for ids that are not there, or whose row never became a record.
    """
    table = _read(snapshot, "quarantine_source")
    if ids is not None:
        known = set(table.column(RECORD_ID).to_pylist())
        if missing := [i for i in dict.fromkeys(ids) if i not in known]:
            raise _cannot(snapshot, missing)
        table = table.filter(pc.is_in(table.column(RECORD_ID), pa.array(ids, pa.string())))
    return Replay(
        table=table.drop_columns([RECORD_ID, POSITION]),
        ids=table.column(RECORD_ID).to_pylist(),
        positions=table.column(POSITION).to_pylist(),
    )


def check_replay(
    snapshot: Snapshot, source: pa.Schema, output: pa.Schema, evaluators: Sequence[str]
) -> pa.Schema:
    """The schema of the merged table: the snapshot's, and at its end what is new.

    Raises Misconfigured when a column has changed its type since: known before anything is spent.
    """
    return _merged(
        pq.read_schema(snapshot.transformed), transformed_schema(source, output, evaluators), snapshot
    )


def merge_retry(base: Snapshot, retried: Written, directory: Path) -> Written:
    """``base`` with what became of its quarantined records now, as a snapshot at ``directory``.

    Takes the folder of ``retried`` away. Both tables keep the source's order.
    """
    kept = _read(base, "quarantine_source")
    places = dict(zip(kept.column(RECORD_ID).to_pylist(), kept.column(POSITION).to_pylist(), strict=True))
    passed = _within(pq.read_table(retried.transformed), RECORD_ID, list(places))
    failed = _within(pq.read_table(retried.quarantine), "record_id", list(places))
    base_file = pq.ParquetFile(base.transformed, pre_buffer=False)
    schema = _merged(base_file.schema_arrow, passed.schema, base)
    passed_ids, failed_ids = passed.column(RECORD_ID), failed.column("record_id")
    folder = FolderWriter(
        directory,
        {
            "transformed": schema,
            "quarantine": QUARANTINE,
            "quarantine_source": kept.schema,
            "deferred": DEFERRED,
        },
    )
    try:
        old = _fit(pq.read_table(base.quarantine), QUARANTINE)  # columns have been added since the first ones
        deferred = _deferred(base)
        holes = np.unique([*old.column("position").to_pylist(), *deferred.column("position").to_pylist()])
        at = np.array([places[i] for i in passed_ids.to_pylist()], np.int64)
        for rows in _interleaved(base_file, _fit(passed, schema), at, holes.astype(np.int64), schema):
            _append(folder, "transformed", rows)
        done = pa.chunked_array([*passed_ids.chunks, *failed_ids.chunks], pa.string())
        rejected = pc.equal(old.column("stage"), "extract")
        stay = old.filter(pc.or_(rejected, pc.invert(pc.is_in(old.column("record_id"), done))))
        _append(folder, "quarantine", pa.concat_tables([stay, failed]).sort_by("position"))
        still = pc.invert(pc.is_in(kept.column(RECORD_ID), passed_ids.combine_chunks()))
        _append(folder, "quarantine_source", kept.filter(still))
        if deferred.num_rows:
            _append(folder, "deferred", deferred)
        version = base.data_version
        if passed.num_rows:
            version = digest("merged:1", base.data_version, retried.data_version).hex()[:32]
        written = folder.publish(version)
    except BaseException:
        folder.discard()
        raise
    shutil.rmtree(retried.transformed.parent, ignore_errors=True)
    return written


def _interleaved(
    base: pq.ParquetFile, new: pa.Table, at: _Positions, holes: _Positions, schema: pa.Schema
) -> Iterator[pa.Table]:
    """The base's rows with the new ones at their positions. A passed row's position is not kept: it
    is the k-th that is no hole, for every position is passed, quarantined or deferred."""
    order = np.argsort(at, kind="stable")
    at, new = at[order], new.take(pa.array(order, pa.int64()))
    shifted = holes - np.arange(len(holes))
    before = begun = 0
    for piece in base.iter_batches():
        rows = _fit(pa.Table.from_batches([piece]), schema)
        k = np.arange(before, before + rows.num_rows)
        positions = k + np.searchsorted(shifted, k, side="right")
        before += rows.num_rows
        end = int(np.searchsorted(at, positions[-1])) if len(positions) else begun
        both = pa.concat_tables([rows, new.slice(begun, end - begun)])
        ranks = np.argsort(np.concatenate([positions, at[begun:end]]), kind="stable")
        begun = end
        yield both.take(pa.array(ranks, pa.int64()))
    yield new.slice(begun)


def _merged(base: pa.Schema, new: pa.Schema, snapshot: Snapshot) -> pa.Schema:
    try:
        return pa.unify_schemas([base.remove_metadata(), new.remove_metadata()])
    except pa.ArrowException as error:
        raise Misconfigured(
            f"records of `{snapshot.pipeline}` cannot be tried again: its columns have changed since",
            why=str(error).partition("\n")[0],
            fix=f"run it whole: `loom run {snapshot.pipeline}`",
        ) from error


def _fit(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """``table`` with the columns of ``schema``; what it has not is null."""
    have = set(table.column_names)
    columns = [
        table.column(f.name).cast(f.type) if f.name in have else pa.nulls(table.num_rows, f.type)
        for f in schema
    ]
    return pa.table(columns, schema=schema)


def _append(folder: FolderWriter, name: str, table: pa.Table) -> None:
    for rows in table.to_batches(max_chunksize=8_192):
        folder.append(name, rows)


def _within(table: pa.Table, column: str, ids: Sequence[str]) -> pa.Table:
    return table.filter(pc.is_in(table.column(column), pa.array(ids, pa.string())))


def _deferred(base: Snapshot) -> pa.Table:
    path = base.quarantine.with_name("deferred.parquet")
    return pq.read_table(path) if path.exists() else DEFERRED.empty_table()


def _read(snapshot: Snapshot, name: str) -> pa.Table:
    path = snapshot.quarantine.with_name(f"{name}.parquet")
    if snapshot.cleaned_at is not None or not path.exists():
        raise snapshot.gone(path)
    return pq.read_table(path)


def _cannot(snapshot: Snapshot, missing: Sequence[str]) -> Misconfigured:
    there = set(pq.read_table(snapshot.quarantine, columns=["record_id"]).column(0).to_pylist())
    shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
    if any(i in there for i in missing):
        return Misconfigured(
            f"cannot be tried again: {shown}",
            why="these rows were refused when they were read and never became records",
            fix="mend the source and run the pipeline",
        )
    return Misconfigured(
        f"not in quarantine in the newest snapshot of `{snapshot.pipeline}`: {shown}",
        fix=f"`loom quarantine list {snapshot.pipeline}` shows what is",
    )
