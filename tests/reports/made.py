"""Runs made by hand with the parts that real runs are made with: their records say what a test wants them to say."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa

from loom_dagster.gateway import Model, Origin, Question
from loom_dagster.ledger import SnapshotRow
from loom_dagster.monitors import MonitorResult
from loom_dagster.pipeline.outcome import Counts, Outcome, Verdict
from loom_dagster.pipeline.tally import Tally
from loom_dagster.records import Answer, Batch, Passed, Quarantined, Record, Score, Stage, Usage
from loom_dagster.release import BatchResult, Releases, SnapshotWriter, Stamp

SOURCE = pa.schema([("id", pa.string()), ("review", pa.string()), ("expected_sentiment", pa.string())])
OUTPUT = pa.schema([("sentiment", pa.string()), ("reasoning", pa.string())])
MODEL = Model(name="openai/gpt-4o-mini")
LABELS = ("positive", "negative", "neutral")


@dataclass
class Row:
    """A record of a run. A score of None could not be had; without scores it failed before it was judged."""

    id: str
    review: str = "It works."
    expected: str | None = "positive"
    answered: str = "positive"
    reasoning: str = "The review says so."
    scores: dict[str, float | None] = field(default_factory=lambda: {"quality": 0.9})
    explanation: str = "It fits."
    kind: str = "refused"
    reason: str = "the model refused to answer"
    model: str = "openai/gpt-4o-mini"
    cost: float | None = 0.0001
    latency: float = 0.4


def many(
    number: int, evaluators: Iterable[str] = ("agrees", "tone", "grounded"), seed: int = 7
) -> Iterator[Row]:
    """A plausible run: one record in ten answered wrongly, a few refused, three evaluators."""
    luck = random.Random(seed)
    for at in range(number):
        expected = luck.choice(LABELS)
        right = luck.random() < 0.9
        answered = expected if right else luck.choice(LABELS)
        scores = {name: min(luck.betavariate(8, 2) + (0.05 if right else -0.3), 1.0) for name in evaluators}
        yield Row(
            id=f"R-{at:06}",
            review=f"Review {at}: " + " ".join(luck.choices(WORDS, k=40)),
            expected=expected,
            answered=answered,
            scores={} if luck.random() < 0.01 else {n: max(round(v, 2), 0.0) for n, v in scores.items()},
            explanation=f"Criterion {luck.randrange(5)} is not met: " + " ".join(luck.choices(WORDS, k=8)),
            reason=f"the model refused to answer ({luck.randrange(1000)})",
            model=luck.choice(("openai/gpt-4o-mini", "openai/gpt-4o")),
            latency=luck.lognormvariate(-1, 0.5),
        )


WORDS = [
    "the",
    "product",
    "works",
    "well",
    "but",
    "support",
    "was",
    "slow",
    "and",
    "the",
    "price",
    "rose",
    "while",
    "reports",
    "load",
    "quickly",
    "every",
    "day",
]


def make_run(
    ledger: Any,
    releases: Releases,
    rows: Iterable[Row],
    *,
    pipeline: str = "reviews",
    partition: str = "",
    threshold: float = 0.6,
    evaluators: Iterable[str] = ("quality",),
    monitors: tuple[MonitorResult, ...] = (),
    tick: Callable[[], object] = lambda: None,
) -> str:
    """Its id. The batch is released if half of it passes."""
    tick()
    run = ledger.begin_run(pipeline, partition, "f", version="2.1.0", fresh=True)
    names = list(evaluators)
    stamp = Stamp(run_id=run.run_id, prompt_name="classify", prompt_version="v2")
    folder = releases.folder(pipeline, partition, run.run_id)
    writer = SnapshotWriter(folder, source_schema=SOURCE, output_schema=OUTPUT, evaluators=names, stamp=stamp)
    tally = Tally([(name, "semantic", threshold) for name in names], lambda: 0.0)
    index, source = 0, iter(rows)
    while piece := list(islice(source, 4096)):
        writer.add(_batch(index, piece, threshold, tally))
        index += 1
    written = writer.commit(index)
    counts = Counts(extracted=tally.extracted, passed=written.passed, quarantined=written.quarantined)
    rate = written.passed / max(tally.extracted, 1)
    verdict = Verdict(
        passed=rate >= 0.5,
        reason=f"{written.passed:,} of {tally.extracted:,} records passed",
        pass_rate=rate,
        threshold=0.5,
    )
    outcome = Outcome(
        run_id=run.run_id, pipeline=pipeline, version="2.1.0", partition=partition,
        status="succeeded" if verdict.passed else "held", counts=counts, verdict=verdict, released=verdict.passed,
        snapshot=run.run_id, scores=tally.scores(), spending=tally.spending(), monitors=monitors,
        seconds={"total": 93.0}, reasons=dict(tally.reasons),
        versions={
            "prompt": {"name": "classify", "version": "v2", "sha256": "d77430ee4cfce4c1"}, "contexts": {"taxonomy": "1.2"},
            "model": "openai/gpt-4o-mini", "judge": "openai/gpt-4o", "models_used": ["openai/gpt-4o-mini"],
        },
    )  # fmt: skip
    now = run.started_at
    spending = outcome.spending
    ledger.finish_run(
        run,
        outcome.status,
        outcome=outcome.as_dict(),
        metrics={
            "extracted": counts.extracted, "passed": counts.passed, "quarantined": counts.quarantined, "deferred": 0,
            "cost": spending.total, "paid_records": spending.paid_records, "paid_cost": spending.paid_cost, "calls": spending.calls,
            "simulated": 0.0, "tried_again": 0.0, "latency_p95": 0.8, "seconds_total": 93.0,
        },
        evaluations=[s.__class__ and {f: getattr(s, f) for f in s.__dataclass_fields__} for s in outcome.scores],
        snapshot=SnapshotRow(
            run_id=run.run_id, pipeline=pipeline, partition=partition, created_at=now, folder=folder.name,
            data_version=written.data_version, counts={"extracted": counts.extracted, "passed": counts.passed},
            verdict_passed=verdict.passed, verdict_reason=verdict.reason, pass_rate=rate, threshold=0.5,
            released_at=now if verdict.passed else None, released_by="gate" if verdict.passed else None,
        ),
    )  # fmt: skip
    return run.run_id


def _batch(index: int, rows: list[Row], threshold: float, tally: Tally) -> BatchResult:
    columns = [{"id": r.id, "review": r.review, "expected_sentiment": r.expected} for r in rows]
    table = pa.RecordBatch.from_pylist(columns, schema=SOURCE)
    first = index * 4096
    records = [Record(id=r.id, position=first + at, row=at, columns=columns[at]) for at, r in enumerate(rows)]
    tally.take(len(rows), ())
    fates = [_fate(row, record, threshold) for row, record in zip(rows, records, strict=True)]
    for fate in fates:
        tally.settle(fate)
        tally.listen(_question(rows[0].id), fate.answers[0])
    return BatchResult(
        batch=Batch(index=index, table=table, records=records),
        passed=[fate for fate in fates if isinstance(fate, Passed)],
        quarantined=[fate for fate in fates if isinstance(fate, Quarantined)],
    )


def _question(record_id: str) -> Question:
    return Question(
        model=MODEL, messages=(), origin=Origin(pipeline="reviews", record_id=record_id, purpose="transform")
    )


def _fate(row: Row, record: Record, threshold: float) -> Passed | Quarantined:
    scores = tuple(
        Score(
            name=n,
            value=v,
            threshold=threshold,
            explanation=row.explanation,
            error=None if v is not None else "no answer",
        )
        for n, v in row.scores.items()
    )
    answers = (
        Answer(
            key=b"k",
            model=row.model,
            text="",
            usage=Usage(input_tokens=210, output_tokens=40),
            cost=row.cost,
            latency=row.latency,
        ),
    )
    output = {"sentiment": row.answered, "reasoning": row.reasoning}
    if scores and all(score.passed for score in scores):
        return Passed(record=record, output=output, scores=scores, answers=answers, model=row.model)
    failed = "; ".join(f"{s.name} {s.value or 0:.2f} < {s.threshold:.2f}" for s in scores if not s.passed)
    return Quarantined(
        id=record.id,
        position=record.position,
        stage=Stage.EVALUATE if scores else Stage.TRANSFORM,
        reason=failed or row.reason,
        kind="gate_failed" if scores else row.kind,
        source=record.columns,
        scores=scores,
        output=output if scores else None,
        model=row.model,
        answers=answers,
        attempts=1,
    )
