"""What became of the records of a snapshot: their rows as they were read, and what was made of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loom_dagster.connectors.plain import plain_rows
from loom_dagster.errors import Misconfigured
from loom_dagster.release.columns import POSITION, RECORD_ID, score_columns
from loom_dagster.release.snapshot import Snapshot

__all__ = ["PastRecord", "past_ids", "past_records"]

_OURS = "_loom_"
_Change = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRecord:
    """``columns`` of the source; ``scores`` by evaluator, of those that were asked for."""

    id: str
    columns: Mapping[str, Any]
    passed: bool
    output: Mapping[str, Any] | None
    scores: Mapping[str, float | None]
    reason: str
    cost: float | None


def past_ids(snapshot: Snapshot) -> Iterator[str]:
    """Of every record that was asked about: those that passed, then the quarantined ones. Raises Misconfigured when the
    files are gone."""
    for name in ("transformed", "quarantine_source"):
        for batch in _open(snapshot, name).iter_batches(columns=[RECORD_ID]):
            yield from batch.column(0).to_pylist()


def past_records(
    snapshot: Snapshot,
    ids: Collection[str],
    evaluators: Sequence[str],
    redact: _Change = lambda rows: rows,
) -> Iterator[PastRecord]:
    """The records ``ids``, their rows after ``redact``. Raises Misconfigured when the files are gone."""
    wanted = pa.array(sorted(ids), pa.string())
    source = [
        n for n in _open(snapshot, "quarantine_source").schema_arrow.names if n not in (RECORD_ID, POSITION)
    ]
    yield from _passed(snapshot, wanted, source, evaluators, redact)
    yield from _quarantined(snapshot, wanted, source, redact)


def _passed(
    snapshot: Snapshot, wanted: pa.Array, source: Sequence[str], evaluators: Sequence[str], redact: _Change
) -> Iterator[PastRecord]:
    file = _open(snapshot, "transformed")
    output = [n for n in file.schema_arrow.names if n not in source and not n.startswith(_OURS)]
    columns = {e: c for e, c in score_columns(evaluators).items() if c in file.schema_arrow.names}
    for batch in file.iter_batches():
        rows = batch.filter(pc.is_in(batch.column(RECORD_ID), wanted))
        for row in _rows(redact(pa.Table.from_batches([rows]))):
            yield PastRecord(
                id=row[RECORD_ID],
                columns={name: row[name] for name in source},
                passed=True,
                output={name: row[name] for name in output},
                scores={evaluator: row[column] for evaluator, column in columns.items()},
                reason="",
                cost=row["_loom_cost_usd"],
            )


def _quarantined(
    snapshot: Snapshot, wanted: pa.Array, source: Sequence[str], redact: _Change
) -> Iterator[PastRecord]:
    kept = _within(_open(snapshot, "quarantine_source").read(), RECORD_ID, wanted)
    rows = {row[RECORD_ID]: row for row in _rows(redact(kept))}
    names = ["record_id", "reason", "scores", "output", "cost_usd"]
    for row in _within(_open(snapshot, "quarantine").read(names), "record_id", wanted).to_pylist():
        if row["record_id"] not in rows:  # it never became a record
            continue
        scores = orjson.loads(row["scores"] or "[]")
        yield PastRecord(
            id=row["record_id"],
            columns={name: rows[row["record_id"]][name] for name in source},
            passed=False,
            output=orjson.loads(row["output"]) if row["output"] else None,
            scores={score["name"]: score["value"] for score in scores},
            reason=row["reason"],
            cost=row["cost_usd"],
        )


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """As the pipeline reads them: also times that are finer than Python's."""
    for batch in table.to_batches():
        yield from plain_rows(batch)


def _within(table: pa.Table, column: str, wanted: pa.Array) -> pa.Table:
    return table.filter(pc.is_in(table.column(column), wanted))


def _open(snapshot: Snapshot, name: str) -> pq.ParquetFile:
    path: Path = snapshot.quarantine.with_name(f"{name}.parquet")
    if not path.exists():
        raise Misconfigured(
            f"the files of run {snapshot.id} of `{snapshot.pipeline}` are gone",
            where=str(path),
            why="only the newest snapshots are kept",
            fix=f"compare with a newer run, or with a git ref: `loom test {snapshot.pipeline} --baseline HEAD`",
            kind="snapshot_gone",
        )
    return pq.ParquetFile(path, pre_buffer=False)
