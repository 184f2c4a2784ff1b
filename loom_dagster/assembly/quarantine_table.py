"""The quarantine where people look: a table beside the data, one row a record, kept up with what becomes of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from loom_dagster.connectors import Place, Shipment, destination_at, place_of
from loom_dagster.ledger import Ledger, QuarantineEntry
from loom_dagster.records import to_json
from loom_dagster.release import Releases, Snapshot
from loom_dagster.settings import Settings
from loom_dagster.spec.models import Load, Pipeline
from loom_dagster.watermark import Watermark

__all__ = ["publish_quarantine", "quarantine_place"]

_TABLE = "quarantined_records"
_KEY = ("pipeline", "partition", "record_id")
_AT_ONCE = 4096
_WHOLE = "all"  # where a pipeline has no partitions: an empty text is no key
_TIME = pa.timestamp("us", tz="UTC")

# what the index knows, which changes when a record is resolved; and what is known of a record's failure
_INDEX = pa.schema(
    [
        *((name, pa.string()) for name in (*_KEY, "run_id", "stage", "kind", "reason")),
        ("attempts", pa.int32()),
        ("quarantined_at", _TIME),
        ("resolved_at", _TIME),
        ("resolution", pa.string()),
        ("resolved_by", pa.string()),
    ]
)
_DETAIL = pa.schema(
    [
        *(
            (name, pa.string())
            for name in (*_KEY, "record", "scores", "output", "raw_answer", "model", "versions")
        ),
        ("cost_usd", pa.float64()),
    ]
)


def quarantine_place(spec: Pipeline, settings: Settings) -> Place | None:
    """Where ``load.quarantine`` is; None when there is none."""
    uri = spec.load.quarantine
    return (
        None if uri is None else place_of(uri, settings.root, table=_TABLE, connections=settings.connections)
    )


def publish_quarantine(
    spec: Pipeline, settings: Settings, ledger: Ledger, releases: Releases, *, now: datetime
) -> int:
    """Bring the table up to date with what has changed since that was done the last time; gives how many
    records that is. Doing it again changes nothing. Raises Misconfigured or Transient when it cannot be written."""
    place = quarantine_place(spec, settings)
    if place is None:
        return 0
    kept_as = f"~quarantine:{place.uri}"  # how far it is brought is kept like a pipeline's own watermark
    done = ledger.watermarks.get(spec.name, kept_as)
    wanted = "" if spec.extract.partitions is None else None
    changed = [
        e for e in ledger.quarantine(spec.name, wanted) if done is None or _changed(e) >= done.moved_at
    ]
    if not changed:
        return 0
    _ship(place, spec, _Rows(_INDEX, len(changed), functools.partial(_indexed, changed)))
    for run_id in sorted({entry.run_id for entry in changed if entry.resolved_at is None}):
        snapshot = releases.snapshot(spec.name, run_id)
        if snapshot is not None and snapshot.quarantine.exists():
            mine = {e.record_id: e.stage for e in changed if e.run_id == run_id}
            _ship(place, spec, _Rows(_DETAIL, len(mine), functools.partial(_details, snapshot, mine)))
    ledger.watermarks.set(spec.name, Watermark(), who="load.quarantine", partition=kept_as, at=now)
    return len(changed)


def _changed(entry: QuarantineEntry) -> datetime:
    return max(entry.quarantined_at, entry.resolved_at or entry.quarantined_at)


class _Rows:
    """Rows for a destination, made anew for each reading."""

    def __init__(self, schema: pa.Schema, rows: int, make: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        self.schema, self.rows, self._make = schema, rows, make

    def batches(self) -> Iterator[pa.RecordBatch]:
        return self._make()

    def with_ids(self) -> Iterator[tuple[list[str], pa.RecordBatch]]:
        for batch in self._make():
            yield batch.column("record_id").to_pylist(), batch


def _ship(place: Place, spec: Pipeline, rows: _Rows) -> None:
    if not rows.rows:
        return
    shipment = Shipment(
        incoming=rows, mode="upsert", key=_KEY, pipeline=spec.name, snapshot="quarantine", fingerprint=""
    )
    destination_at(place).load(place, Load(destination=place.uri, mode="upsert"), shipment)


def _indexed(entries: Sequence[QuarantineEntry]) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(entries), _AT_ONCE):
        rows = [
            {
                **{name: getattr(e, name) for name in _INDEX.names if name != "attempts"},
                "partition": e.partition or _WHOLE,
                "attempts": e.sample,
            }
            for e in entries[start : start + _AT_ONCE]
        ]
        yield pa.RecordBatch.from_pylist(rows, schema=_INDEX)


def _details(snapshot: Snapshot, ids: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """Of the records that failed before the load, and of those that were refused by it."""
    for batch in pq.ParquetFile(snapshot.quarantine, pre_buffer=False).iter_batches(_AT_ONCE):
        rows = [{**row, "record": row["source"]} for row in batch.to_pylist() if row["record_id"] in ids]
        yield _batch(snapshot, rows)
    refused = {i for i, stage in ids.items() if stage == "load"}
    if not refused:
        return
    for batch in pq.ParquetFile(snapshot.transformed, pre_buffer=False).iter_batches(_AT_ONCE):
        found = [row for row in batch.to_pylist() if row["_loom_record_id"] in refused]
        yield _batch(snapshot, [_refused(row) for row in found])


def _refused(row: dict[str, Any]) -> dict[str, Any]:
    columns = {name: value for name, value in row.items() if not name.startswith("_loom_")}
    return {
        "record_id": row["_loom_record_id"],
        "record": to_json(columns).decode(),
        "model": row.get("_loom_model"),
    }


def _batch(snapshot: Snapshot, rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    fixed = {"pipeline": snapshot.pipeline, "partition": snapshot.partition or _WHOLE}
    chosen = [{name: {**row, **fixed}.get(name) for name in _DETAIL.names} for row in rows]
    return pa.RecordBatch.from_pylist(chosen, schema=_DETAIL)
