"""Batches with fates, as the pipeline hands them over, and a place to write them to."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from loom_dagster.ledger import IndexRow, Ledger, SnapshotRow
from loom_dagster.records import Answer, Batch, Passed, Quarantined, Record, Score, Stage
from loom_dagster.release import BatchResult, Releases, SnapshotWriter, Stamp, batch_verdict
from loom_dagster.release.verdict import Counts
from loom_dagster.spec.models import Evaluate

SOURCE = pa.schema([("id", pa.int64()), ("text", pa.string())])
OUTPUT = pa.schema([("label", pa.string()), ("weight", pa.int64())])


class Makes:
    """Short ways to say a batch and what became of it."""

    source, output, evaluators = SOURCE, OUTPUT, ("quality",)

    def answer(self, **given):
        return Answer(**{"key": b"k", "model": "m", "text": "{}", "cost": 0.25, "latency": 0.5, **given})

    def records(self, start, n):
        rows = [{"id": i, "text": f"text {i}"} for i in range(start, start + n)]
        return [Record(id=f"r{r['id']}", position=r["id"], row=i, columns=r) for i, r in enumerate(rows)]

    def passed(self, record, **given):
        made = {
            "output": {"label": "good", "weight": record.position},
            "scores": (Score(name="quality", value=0.9, threshold=0.5),),
            "answers": (self.answer(),),
            "model": "m",
        }
        return Passed(record=record, **{**made, **given})

    def failed(self, record, **given):
        made = {
            "stage": Stage.EVALUATE,
            "reason": "quality 0.10 < 0.50",
            "kind": "gate_failed",
            "scores": (Score(name="quality", value=0.1, threshold=0.5, explanation="poor"),),
            "output": {"label": "bad", "weight": 1},
            "raw_answer": '{"label": "bad"}',
            "model": "m",
            "answers": (self.answer(),),
            "attempts": 1,
        }
        made["source"] = {**record.columns}
        return Quarantined(id=record.id, position=record.position, **{**made, **given})

    def rejected(self, position):
        return Quarantined(
            id=f"x{position}", position=position, stage=Stage.EXTRACT, reason="null key", kind="null_key",
            source={"id": None},
        )  # fmt: skip

    def batch(self, index, records, schema=SOURCE):
        table = pa.RecordBatch.from_pylist([dict(r.columns) for r in records], schema=schema)
        return Batch(index=index, table=table, records=records)

    def results(self, fates, size=2):
        """One batch per ``size`` letters: p passed, f failed, d deferred, x rejected by extract."""
        for index, start in enumerate(range(0, len(fates), size)):
            letters = fates[start : start + size]
            places = [start + i for i, letter in enumerate(letters) if letter != "x"]
            rows = [self.records(place, 1)[0] for place in places]
            records = [
                Record(id=r.id, position=r.position, row=i, columns=r.columns) for i, r in enumerate(rows)
            ]
            by = {r.position: r for r in records}
            told = list(enumerate(letters, start))
            yield BatchResult(
                batch=self.batch(index, records),
                passed=[self.passed(by[at]) for at, letter in told if letter == "p"],
                quarantined=[self.rejected(at) for at, letter in told if letter == "x"]
                + [self.failed(by[at]) for at, letter in told if letter == "f"],
                deferred=[(by[at].id, at, "outage: down") for at, letter in told if letter == "d"],
            )

    def stamp(self, run_id="run-1"):
        return Stamp(
            run_id=run_id, prompt_name="p", prompt_version="v1", context_versions={"domain": "3"}, pipeline_version="2.10"
        )  # fmt: skip

    def writer(self, directory, *, source=SOURCE, output=OUTPUT, evaluators=("quality",), run_id="run-1"):
        return SnapshotWriter(
            directory,
            source_schema=source,
            output_schema=output,
            evaluators=evaluators,
            stamp=self.stamp(run_id),
        )

    def written(self, directory, fates, *, size=2, run_id="run-1"):
        writer = self.writer(directory, run_id=run_id)
        results = list(self.results(fates, size))
        for result in results:
            writer.add(result)
        return writer.commit(len(results))


@pytest.fixture
def make():
    return Makes()


@pytest.fixture
def state(tmp_path):
    return tmp_path / ".loom"


@pytest.fixture
def ledger(state):
    with Ledger(state / "ledger.sqlite") as opened:
        yield opened


@pytest.fixture
def releases(ledger, state):
    return Releases(ledger, state)


@pytest.fixture
def ran(make, ledger, releases):
    """A whole run as the pipeline does it: ``ran("ppf", threshold=0.5)`` gives its snapshot."""

    def run(fates, *, threshold=None, pipeline="reviews", fingerprint="f", size=2):
        handle = ledger.begin_run(pipeline, "", fingerprint)
        directory = releases.folder(pipeline, "", handle.run_id)
        written = make.written(directory, fates, size=size, run_id=handle.run_id)
        return conclude(ledger, releases, handle, written, threshold)

    return run


@pytest.fixture
def concluded(ledger, releases):
    def end(handle, written, *, threshold=None):
        return conclude(ledger, releases, handle, written, threshold)

    return end


def conclude(ledger, releases, handle, written, threshold):
    counts = Counts(
        extracted=written.passed + written.quarantined + written.deferred,
        passed=written.passed,
        quarantined=written.quarantined,
        deferred=written.deferred,
        skipped=written.skipped,
        source_errors=written.source_errors,
        fallbacks=written.fallbacks,
    )
    verdict = batch_verdict(counts, Evaluate(batch_threshold=threshold))
    now = datetime.now(UTC)
    import pyarrow.parquet as pq

    rows = pq.read_table(written.quarantine).to_pylist()
    ledger.finish_run(
        handle,
        "deferred" if counts.deferred else "succeeded" if verdict.passed else "held",
        outcome={},
        snapshot=SnapshotRow(
            run_id=handle.run_id,
            pipeline=handle.pipeline,
            partition=handle.partition,
            created_at=now,
            folder=written.transformed.parent.name,
            data_version=written.data_version,
            counts=asdict(counts),
            verdict_passed=verdict.passed,
            verdict_reason=verdict.reason,
            released_at=now if verdict.passed else None,
            released_by="gate" if verdict.passed else None,
        ),
        quarantine_rows=[
            IndexRow(record_id=r["record_id"], stage=r["stage"], kind=r["kind"], reason=r["reason"])
            for r in rows
            if r["run_id"] == handle.run_id
        ],
    )
    return releases.snapshot(handle.pipeline, handle.run_id)
