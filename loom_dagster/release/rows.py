"""From what became of a batch to rows of the tables, column by column: this runs once per record.

The source's columns are never turned into Python values and back, so their types stay exact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from loom_dagster.records import Answer, Passed, Quarantined, Record, Score, Stage, to_json, utf8
from loom_dagster.release.columns import (
    DEFERRED,
    QUARANTINE,
    kept_source_schema,
    score_columns,
    transformed_schema,
)
from loom_dagster.release.snapshot import BatchResult, Stamp

__all__ = ["DIGEST", "Rows"]

DIGEST = "_digest"  # travels with a row until the data version is made of it; never in a file

_UNSTORABLE = (pa.ArrowException, ValueError, TypeError, OverflowError)


class Rows:
    """Makes the rows of one run. ``schemas`` holds what each table looks like."""

    def __init__(self, source: pa.Schema, output: pa.Schema, evaluators: Sequence[str], stamp: Stamp) -> None:
        self._source = source.remove_metadata()
        self._output = output.remove_metadata()
        self._scores = score_columns(evaluators)
        self._stamp = stamp
        self._contexts = to_json(dict(stamp.context_versions)).decode()
        self.schemas: Mapping[str, pa.Schema] = {
            "transformed": transformed_schema(self._source, self._output, evaluators),
            "quarantine": QUARANTINE,
            "quarantine_source": kept_source_schema(self._source),
            "deferred": DEFERRED,
        }

    def of(self, result: BatchResult) -> dict[str, pa.RecordBatch]:
        """The rows of each table, in the source's order; tables without rows are left out.

        An output that fits no column is a quarantined record, not an error.
        """
        passed = sorted(result.passed, key=lambda p: p.record.position)
        quarantined = list(result.quarantined)
        try:
            outputs = self._outputs(passed)
        except _UNSTORABLE:
            passed, misfits = self._storable(passed)
            quarantined += misfits
            outputs = self._outputs(passed)
        quarantined.sort(key=lambda q: q.position)
        deferred = sorted(result.deferred, key=lambda d: d[1])
        made = {}
        if passed:
            made["transformed"] = self._transformed(result.batch.table, passed, outputs)
        if quarantined:
            made["quarantine"] = self._quarantine(quarantined)
            records = {record.id: record for record in result.batch.records}
            if kept := [q for q in quarantined if q.stage is not Stage.EXTRACT and q.id in records]:
                made["quarantine_source"] = self._kept(result.batch.table, [records[q.id] for q in kept])
        if deferred:
            ids, positions, reasons = zip(*deferred, strict=True)
            columns = [_texts(ids), pa.array(positions, pa.int64()), _texts(reasons)]
            made["deferred"] = pa.RecordBatch.from_arrays(columns, schema=DEFERRED)
        return made

    def _outputs(self, passed: Sequence[Passed]) -> list[pa.Array]:
        outputs = [p.output for p in passed]
        return [pa.array([o.get(f.name) for o in outputs], f.type) for f in self._output]

    def _storable(self, passed: Sequence[Passed]) -> tuple[list[Passed], list[Quarantined]]:
        good, misfits = [], []
        for p in passed:
            clean = replace(p, output={k: utf8(v) for k, v in p.output.items()})
            try:
                self._outputs([clean])
            except _UNSTORABLE as error:
                misfits.append(_misfit(clean, error))
            else:
                good.append(clean)
        return good, misfits

    def _transformed(
        self, table: pa.RecordBatch, passed: Sequence[Passed], outputs: Sequence[pa.Array]
    ) -> pa.RecordBatch:
        n, stamp = len(passed), self._stamp
        scores = [{s.name: s.value for s in p.scores} for p in passed]
        columns = [
            *_take(table, self._source.names, [p.record.row for p in passed]),
            *outputs,
            _texts([p.record.id for p in passed]),
            _repeat(stamp.run_id, n),
            *(pa.array([s.get(name) for s in scores], pa.float64()) for name in self._scores),
            _repeat(stamp.prompt_version, n),
            _repeat(self._contexts, n),
            _texts([p.model for p in passed]),
            pa.array([p.attempts for p in passed], pa.int32()),
            _texts([p.fallback for p in passed]),
            pa.array([_cost(p.answers) for p in passed], pa.float64()),
            pa.array([sum(a.latency for a in p.answers) for p in passed], pa.float64()),
            pa.array([any(a.simulated for a in p.answers) for p in passed], pa.bool_()),
            pa.array([_answers(p.answers) for p in passed], pa.string()),
            pa.array([_digest(p) for p in passed], pa.binary(32)),
        ]
        schema = self.schemas["transformed"].append(pa.field(DIGEST, pa.binary(32)))
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _quarantine(self, entries: Sequence[Quarantined]) -> pa.RecordBatch:
        stamp, said = self._stamp, {m: self._versions(m) for m in {q.model for q in entries}}
        columns = [
            _texts([q.id for q in entries]),
            pa.array([q.position for q in entries], pa.int64()),
            _texts([q.stage.value for q in entries]),
            _texts([q.reason for q in entries]),
            _texts([q.kind for q in entries]),
            _jsons([q.source for q in entries], dict),
            _jsons([q.scores for q in entries], _scores),
            _jsons([q.output for q in entries], dict),
            _texts([q.raw_answer for q in entries]),
            _texts([q.model for q in entries]),
            _texts([said[q.model] for q in entries]),
            pa.array([q.attempts for q in entries], pa.int32()),
            pa.array([_cost(q.answers) for q in entries], pa.float64()),
            _repeat(stamp.run_id, len(entries)),
            _texts([q.resolution for q in entries]),
            pa.array([_answers(q.answers) for q in entries], pa.string()),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=QUARANTINE)

    def _kept(self, table: pa.RecordBatch, records: Sequence[Record]) -> pa.RecordBatch:
        columns = [
            _texts([r.id for r in records]),
            pa.array([r.position for r in records], pa.int64()),
            *_take(table, self._source.names, [r.row for r in records]),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schemas["quarantine_source"])

    def _versions(self, model: str | None) -> str:
        stamp = self._stamp
        versions = {
            "prompt": {"name": stamp.prompt_name, "version": stamp.prompt_version},
            "contexts": dict(stamp.context_versions),
            "model": model,
            "pipeline": stamp.pipeline_version,
        }
        return to_json(versions).decode()


def _take(table: pa.RecordBatch, names: Sequence[str], rows: Sequence[int]) -> list[pa.Array]:
    if len(rows) == table.num_rows and all(row == i for i, row in enumerate(rows)):
        return [table.column(name) for name in names]
    indices = pa.array(rows, pa.int64())
    return [table.column(name).take(indices) for name in names]


def _texts(values: Sequence[str | None]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        return pa.array([utf8(v) for v in values], pa.string())


def _jsons(values: Iterable[Any], shape: Callable[[Any], object]) -> pa.Array:
    """JSON text of each value; null stays null."""
    return pa.array([None if v is None else to_json(shape(v)).decode() for v in values], pa.string())


def _repeat(text: str, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(utf8(text), pa.string()), n)


def _scores(scores: Sequence[Score]) -> list[dict[str, object]]:
    return [
        {
            "name": s.name,
            "value": s.value,
            "threshold": s.threshold,
            "passed": s.passed,
            "explanation": s.explanation,
            "error": s.error,
            "weight": s.weight,
        }
        for s in scores
    ]


def _cost(answers: Sequence[Answer]) -> float | None:
    """In USD, as paid at the time; None as soon as one price is not known."""
    total = 0.0
    for answer in answers:
        if answer.cost is None:
            return None
        total += answer.cost
    return total


def _answers(answers: Sequence[Answer]) -> str:
    """The beginnings of their keys in the answer store (16 hex digits each), in the order they were had."""
    return ",".join([a.key[:8].hex() for a in answers])


def _digest(passed: Passed) -> bytes:
    return hashlib.sha256(to_json([passed.record.id, passed.model, passed.output])).digest()


def _misfit(passed: Passed, error: Exception) -> Quarantined:
    return Quarantined(
        id=passed.record.id,
        position=passed.record.position,
        stage=Stage.TRANSFORM,
        reason=f"the output does not fit its columns: {error}",
        kind="wrong_schema",
        source=passed.record.columns,
        scores=passed.scores,
        output=passed.output,
        model=passed.model,
        answers=passed.answers,
        attempts=passed.attempts,
    )
