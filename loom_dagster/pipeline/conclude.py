"""The end of a run: the verdict on the batch, the release that follows from it, and the outcome.

Everything the ledger learns of a run it learns here, in one transaction: killed before it, the run
is open and is repeated; killed after it, the run has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq

from loom_dagster.batches import Waiting
from loom_dagster.errors import LoomError, OverBudget, Transient
from loom_dagster.ledger import BudgetUse, IndexRow, Ledger, RunHandle, SnapshotRow
from loom_dagster.pipeline.faults import findings_of
from loom_dagster.pipeline.outcome import Counts, Outcome, Status, Verdict
from loom_dagster.pipeline.plan import Base, Plan
from loom_dagster.pipeline.tally import Tally
from loom_dagster.pipeline.watch import Numbers, counts_as_mapping, held_by, watch
from loom_dagster.release import Written, batch_verdict

__all__ = ["Ended", "conclude"]

_AT_ONCE = 4096  # rows of a table in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run whose records are all settled. ``written`` is None when it was interrupted, and while some of its records
    wait for ``batches``: ``waits`` counts them."""

    tally: Tally
    written: Written | None
    stopped_by: LoomError | None
    seconds: Mapping[str, float]
    notes: Sequence[str]
    interrupted: bool = False
    waits: int = 0
    batches: Sequence[Waiting] = ()
    budgets: Sequence[BudgetUse] = ()


def conclude(plan: Plan, handle: RunHandle, ended: Ended, ledger: Ledger, *, now: datetime) -> Outcome:
    """Judge the batch, tell the ledger, and say what became of the run."""
    tally, written = ended.tally, ended.written
    counts = tally.counts if written is None else _counted(tally.counts, written, plan.base)
    numbers = _numbers(plan, counts, ended)
    monitors = () if written is None else watch(plan, handle, numbers, ledger)
    gate = _unfinished(ended) if written is None else batch_verdict(counts, plan.evaluate)
    verdict = held_by(gate, monitors)
    status = _status(counts, verdict, interrupted=ended.interrupted)
    held = any(m.holds for m in monitors)
    released = written is not None and not held and _released(plan, counts, verdict, status, ledger)
    outcome = Outcome(
        run_id=handle.run_id,
        pipeline=plan.pipeline,
        version=plan.version,
        partition=plan.shown_partition,
        status=status,
        counts=counts,
        verdict=verdict,
        resumed=handle.resumed,
        trial=plan.trial,
        simulated=plan.simulated,
        released=released,
        snapshot=None if written is None else handle.run_id,
        transformed_path="" if written is None else str(written.transformed),
        quarantine_path="" if written is None else str(written.quarantine),
        data_version="" if written is None else written.data_version,
        scores=tally.scores(),
        monitors=monitors,
        spending=numbers.spending,
        seconds=ended.seconds,
        versions={**plan.versions, "models_used": [name for name, _ in tally.models.most_common()]},
        columns=() if written is None else tuple(written.columns),
        sample=() if written is None else tuple(written.sample),
        quarantine_sample=() if written is None else tuple(written.quarantine_sample),
        reasons=dict(tally.reasons.most_common()),
        notes=ended.notes,
        stopped_by=_stopped_by(plan, ended),
        stopped_kind=_stopped_kind(ended),
        batches=ended.batches,
        in_batches=ended.waits,
    )
    waiting = ledger.quarantines(plan.pipeline, plan.partition)
    ledger.finish_run(
        handle,
        status,
        outcome=outcome.as_dict(),
        metrics=numbers.kept(verdict, monitors),
        evaluations=numbers.scores,
        versions=plan.version_rows,
        snapshot=None if written is None else _snapshot(outcome, written, plan, now),
        quarantine_rows=() if written is None else _Index(written.quarantine, handle.run_id),
        passed=_PassedIds(written.transformed) if written is not None and waiting else (),
        saw_everything=plan.whole and not (plan.trial or counts.deferred or plan.base or plan.increment),
        budget_used_up=isinstance(ended.stopped_by, OverBudget) and ended.stopped_by.budget == "run",
        findings=findings_of(plan, outcome, gate),
    )
    return outcome


def _unfinished(ended: Ended) -> Verdict:
    if ended.interrupted:
        return Verdict(passed=False, reason="the run was interrupted; the next start continues it")
    return Verdict(passed=False, reason="the answers come with a batch; the next start continues it")


def _numbers(plan: Plan, counts: Counts, ended: Ended) -> Numbers:
    tally, stopped_by = ended.tally, ended.stopped_by
    return Numbers(
        plan,
        counts,
        replace(tally.spending(), budgets=tuple(ended.budgets)),
        tally.scores(),
        ended.seconds,
        stopped_by.budget if isinstance(stopped_by, OverBudget) else None,
    )


def _stopped_by(plan: Plan, ended: Ended) -> str | None:
    """What kept records from being settled. Deferred ones are counted as such, but for those that
    were to be tried again: they stay in quarantine, and that must not look like a success."""
    if ended.stopped_by is not None:
        return ended.stopped_by.sentence()
    if plan.base is not None and ended.tally.deferred:
        return f"{ended.tally.deferred} records could not be tried again and stay in quarantine"
    return None


def _stopped_kind(ended: Ended) -> str | None:
    if ended.stopped_by is None:
        return None
    if isinstance(ended.stopped_by, Transient):
        return "budget" if isinstance(ended.stopped_by, OverBudget) else "unavailable"
    return "misconfigured"


def _snapshot(outcome: Outcome, written: Written, plan: Plan, now: datetime) -> SnapshotRow:
    verdict, released, reached = outcome.verdict, outcome.released, plan.reached()
    return SnapshotRow(
        run_id=outcome.run_id,
        pipeline=plan.pipeline,
        partition=plan.partition,
        created_at=now,
        folder=written.transformed.parent.name,
        data_version=written.data_version,
        counts=counts_as_mapping(outcome.counts),
        verdict_passed=verdict.passed,
        verdict_reason=verdict.reason,
        pass_rate=verdict.pass_rate,
        threshold=verdict.threshold,
        released_at=now if released else None,
        released_by="gate" if released else None,
        why=verdict.reason if released else None,
        increment=plan.increment,
        watermark=None if reached is None else reached.as_dict(),
    )


def _counted(counts: Counts, written: Written, base: Base | None) -> Counts:
    """The tables' own row counts: conservation is judged by what was written, not by what was meant.
    What was tried again was extracted before."""
    extracted = counts.extracted if base is None else base.counts["extracted"] + counts.extracted - base.tried
    return Counts(
        extracted=extracted,
        passed=written.passed,
        quarantined=written.quarantined,
        deferred=written.deferred,
        skipped=written.skipped,
        source_errors=written.source_errors,
        fallbacks=written.fallbacks,
    )


def _status(counts: Counts, verdict: Verdict, *, interrupted: bool) -> Status:
    if interrupted:
        return "interrupted"
    if not counts.conserved:
        return "failed"
    if counts.deferred:
        return "deferred"
    return "succeeded" if verdict.passed else "held"


def _released(plan: Plan, counts: Counts, verdict: Verdict, status: Status, ledger: Ledger) -> bool:
    """A batch that passed, or whose passing records may go on without the rest."""
    if plan.trial or status in ("failed", "deferred"):
        return False
    if counts.extracted == 0 and not plan.allow_empty:
        # an empty extract must not take the place of what is there
        return ledger.released_snapshot(plan.pipeline, plan.partition) is None
    if plan.evaluate.on_batch_failure == "load_passed":
        return counts.passed > 0 or verdict.passed
    return verdict.passed


@dataclass(frozen=True, slots=True)
class _Index:
    """What this run put there, read anew each time. A merged table also holds rows of the run it builds on, which
    are in the index already, some of them resolved since."""

    quarantine: Path
    run_id: str

    def __iter__(self) -> Iterator[IndexRow]:
        columns = ["record_id", "stage", "kind", "reason", "attempts", "resolution", "run_id"]
        for batch in pq.ParquetFile(self.quarantine, pre_buffer=False).iter_batches(
            _AT_ONCE, columns=columns
        ):
            for row in batch.to_pylist():
                if row["run_id"] != self.run_id:
                    continue
                yield IndexRow(
                    record_id=row["record_id"],
                    stage=row["stage"],
                    kind=row["kind"],
                    reason=row["reason"],
                    sample=row["attempts"],
                    resolution=row["resolution"],
                )


@dataclass(frozen=True, slots=True)
class _PassedIds:
    transformed: Path

    def __iter__(self) -> Iterator[str]:
        for batch in pq.ParquetFile(self.transformed, pre_buffer=False).iter_batches(
            _AT_ONCE, columns=["_loom_record_id"]
        ):
            yield from batch.column(0).to_pylist()
