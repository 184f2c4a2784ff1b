"""Two snapshots of a pipeline, record by record: what went another way, scored otherwise or came out differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loom_dagster.release.columns import RECORD_ID, score_columns

__all__ = ["Compared", "compare"]

_AT_ONCE = 4096
_PASSED, _QUARANTINED, _DEFERRED = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Records by what became of them in the first snapshot and in the second. ``scores``: of each evaluator how many
    records that both have scored got ``better``, ``worse`` or stayed the ``same``. ``examples`` of outputs that changed
    and of records that went another way: record_id, before, after."""

    both: int
    only_first: int
    only_second: int
    newly_failed: int
    newly_passed: int
    outputs_changed: int
    scores: Mapping[str, Mapping[str, int]]
    examples: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    moved: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """``ids`` with their ``fates`` and ``scores``, and the rows that passed."""

    passed: pa.Table
    ids: pa.Array
    fates: pa.Array
    scores: Mapping[str, pa.Array]


def compare(
    first: Path, second: Path, *, outputs: Sequence[str], evaluators: Sequence[str], shown: int
) -> Compared:
    """The snapshots in the folders ``first`` and ``second``; ``outputs`` and ``evaluators`` are those that both have.

    Memory: ids, outputs and scores of both. At most ``shown`` examples of each kind.
    """
    one, two = (_side(folder, outputs, evaluators) for folder in (first, second))
    at = pc.index_in(one.ids, value_set=two.ids)
    there = pc.is_valid(at)
    before, after = one.fates.filter(there), two.fates.take(at.filter(there))
    was, now = pc.equal(before, _PASSED), pc.equal(after, _PASSED)
    failed, recovered = pc.and_not(was, now), pc.and_not(now, was)
    both = _count(there)
    ids = one.ids.filter(there)
    changed, examples = _outputs(one.passed, two.passed, outputs, shown)
    moved = pc.or_(failed, recovered)
    names = ("passed", "quarantined", "deferred")
    return Compared(
        both=both,
        only_first=len(one.ids) - both,
        only_second=len(two.ids) - both,
        newly_failed=_count(failed),
        newly_passed=_count(recovered),
        outputs_changed=changed,
        scores={
            name: _better_or_worse(one.scores[name].filter(there), two.scores[name].take(at.filter(there)))
            for name in evaluators
        },
        examples=examples,
        moved=[
            {"record_id": i, "before": names[b], "after": names[a]}
            for i, b, a in zip(
                *(column.filter(moved).slice(0, shown).to_pylist() for column in (ids, before, after)),
                strict=True,
            )
        ],
    )


def _side(folder: Path, outputs: Sequence[str], evaluators: Sequence[str]) -> _Side:
    path, columns = folder / "transformed.parquet", score_columns(evaluators)
    there = set(pq.read_schema(path).names)
    wanted = [RECORD_ID, *(n for n in (*outputs, *columns.values()) if n in there)]
    passed = pq.read_table(path, columns=wanted)
    failed_ids, failed_scores = _quarantined(folder / "quarantine.parquet", evaluators)
    deferred = folder / "deferred.parquet"
    late = (
        pq.read_table(deferred, columns=["record_id"]).column(0)
        if deferred.exists()
        else pa.array([], pa.string())
    )
    ids = [passed.column(RECORD_ID), failed_ids, late]
    fates = [
        pa.repeat(pa.scalar(f, pa.int8()), len(i))
        for i, f in zip(ids, (_PASSED, _QUARANTINED, _DEFERRED), strict=True)
    ]
    none = pa.nulls(len(late), pa.float64())
    return _Side(
        passed=passed,
        ids=_joined(ids, pa.string()),
        fates=_joined(fates, pa.int8()),
        scores={
            name: _joined([_column(passed, columns[name]), failed_scores[name], none], pa.float64())
            for name in evaluators
        },
    )


def _quarantined(path: Path, evaluators: Sequence[str]) -> tuple[pa.Array, dict[str, pa.Array]]:
    ids: list[str] = []
    scores: dict[str, list[float | None]] = {name: [] for name in evaluators}
    for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(
        _AT_ONCE, columns=["record_id", "scores"]
    ):
        ids += batch.column(0).to_pylist()
        for text in batch.column(1).to_pylist():
            said = {s["name"]: s["value"] for s in orjson.loads(text)} if text else {}
            for name in evaluators:
                scores[name].append(said.get(name))
    return pa.array(ids, pa.string()), {n: pa.array(v, pa.float64()) for n, v in scores.items()}


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    return table.column(name) if name in table.column_names else pa.nulls(table.num_rows, pa.float64())


def _joined(columns: Sequence[pa.Array | pa.ChunkedArray], kind: pa.DataType) -> pa.Array:
    chunks = [
        c for column in columns for c in (column.chunks if isinstance(column, pa.ChunkedArray) else [column])
    ]
    return pa.concat_arrays([pc.cast(c, kind) for c in chunks]) if chunks else pa.array([], kind)


def _better_or_worse(before: pa.Array, after: pa.Array) -> dict[str, int]:
    """Of the records that both have a score of."""
    better, worse = _count(pc.greater(after, before)), _count(pc.less(after, before))
    return {"better": better, "worse": worse, "same": _count(pc.equal(after, before))}


def _outputs(
    one: pa.Table, two: pa.Table, outputs: Sequence[str], shown: int
) -> tuple[int, list[dict[str, Any]]]:
    """How many records that passed twice came out differently, and some of them."""
    ids = _joined([one.column(RECORD_ID)], pa.string())
    at = pc.index_in(ids, value_set=_joined([two.column(RECORD_ID)], pa.string()))
    there = pc.is_valid(at)
    old, new, ids = one.filter(there), two.take(at.filter(there)), ids.filter(there)
    names = [n for n in outputs if n in old.column_names and n in new.column_names]
    differs = pa.repeat(pa.scalar(False), len(ids))
    for name in names:
        differs = pc.or_(differs, _unequal(old.column(name), new.column(name)))
    rows = pc.indices_nonzero(differs).slice(0, shown)
    befores, afters = (t.select(names).take(rows).to_pylist() for t in (old, new))
    found = zip(ids.take(rows).to_pylist(), befores, afters, strict=True)
    return _count(differs), [{"record_id": i, "before": b, "after": a} for i, b, a in found]


def _unequal(old: pa.ChunkedArray, new: pa.ChunkedArray) -> pa.Array:
    """Null is like null and NaN like NaN."""
    old, new = old.combine_chunks(), new.combine_chunks()
    if old.type == new.type and not pa.types.is_nested(old.type):
        known = pc.fill_null(pc.not_equal(old, new), False)
        if pa.types.is_floating(old.type):
            nowhere = pc.and_(pc.is_nan(old), pc.is_nan(new))
            known = pc.and_not(known, pc.fill_null(nowhere, False))
        return pc.or_(known, pc.not_equal(pc.is_null(old), pc.is_null(new)))
    return pa.array([a != b for a, b in zip(old.to_pylist(), new.to_pylist(), strict=True)], pa.bool_())


def _count(column: pa.Array) -> int:
    return int(pc.sum(column).as_py() or 0)
