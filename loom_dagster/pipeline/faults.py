"""What a run alerts people of: the gate, evaluators and monitors that failed, and a run that did not get to its end.

Skipped records are no reason for an alert, a trial and an interrupted run neither. A message names
records by their ids and says by which scores they failed; nothing a record holds, or an answer said, is in it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from loom_dagster.ledger import Fault, Findings
from loom_dagster.pipeline.outcome import Outcome, Verdict
from loom_dagster.pipeline.plan import Plan
from loom_dagster.pipeline.watch import looks_at
from loom_dagster.release import reaches

__all__ = ["findings_of"]

_AT_ONCE = 4096  # rows of a table in memory
_WORST = 3


def findings_of(plan: Plan, outcome: Outcome, gate: Verdict) -> Findings | None:
    """``gate``: the verdict without that of monitors. None for a run that says nothing of its checks.

    A batch that only a monitor holds is told as the monitor's alert, to those too who want to hear of the gate.
    """
    if plan.trial or outcome.status == "interrupted" or outcome.waits:
        return None
    checks = {**_of_the_run(outcome), **_of_monitors(plan, outcome)}
    if outcome.counts.extracted and outcome.status in ("succeeded", "held"):
        others = _of_evaluators(plan, outcome)
        if not (gate.passed and outcome.status == "held"):
            others = {**others, "quality_gate": _of_the_gate(outcome, gate) or others.get("quality_gate")}
        # an evaluator may have the name of a monitor
        checks |= {check: checks.get(check) or facts for check, facts in others.items()}
    failed = {check: facts for check, facts in checks.items() if facts is not None}
    if failed:
        common = _common(outcome)
        failed = {check: {**common, **facts} for check, facts in failed.items()}
    return Findings(
        failed=[_fault(plan, outcome, gate, check, facts) for check, facts in failed.items()],
        passed=[check for check in checks if check not in failed],
    )


def _fault(plan: Plan, outcome: Outcome, gate: Verdict, check: str, facts: Mapping[str, Any]) -> Fault:
    holds = (
        outcome.status == "held"
        and gate.passed
        and any(m.holds and m.name == check for m in outcome.monitors)
    )
    channels = [*plan.tells(check), *(plan.tells("quality_gate") if holds else ())]
    return Fault(
        check=check,
        run_id=outcome.run_id,
        facts=facts,
        channels=tuple(dict.fromkeys(channels)),
        once=plan.of_stream or not looks_at(plan, check),
    )


def _of_the_run(outcome: Outcome) -> dict[str, Mapping[str, Any] | None]:
    """None of a check: it passed."""
    counts, stopped = outcome.counts, outcome.stopped_by
    failed = deferred = None
    if not counts.conserved:
        failed = {"summary": outcome.verdict.reason}
    elif outcome.status == "failed" or (stopped and outcome.stopped_kind != "budget"):
        failed = {"summary": stopped or outcome.verdict.reason}
    elif outcome.status == "deferred" or stopped:
        words = f"{counts.deferred:,} of {counts.extracted:,} records are deferred"
        deferred = {"summary": f"{words}: {stopped}" if stopped else words}
    return {"run_failed": failed, "run_deferred": deferred}


def _of_the_gate(outcome: Outcome, gate: Verdict) -> Mapping[str, Any] | None:
    if gate.passed:
        return None
    words = gate.reason if outcome.released else f"held, and not loaded: {gate.reason}"
    return {"summary": words, "value": gate.pass_rate, "threshold": gate.threshold}


def _of_evaluators(plan: Plan, outcome: Outcome) -> dict[str, Mapping[str, Any] | None]:
    """As the evaluators' checks in Dagster see it."""
    wanted, found = plan.evaluate.batch_threshold, dict[str, Mapping[str, Any] | None]()
    share = 1.0 if wanted is None else wanted
    for score in outcome.scores:
        total = score.passed + score.failed + score.errors
        if not total:
            continue  # no record got as far as this; the gate says so
        if reaches(score.passed, total, share):
            found[score.name] = None
        elif not plan.skips:
            words = f"{score.passed:,} of {total:,} records reached {score.threshold:g}"
            if score.errors:
                words += f"; {score.errors:,} could not be scored"
            found[score.name] = {"summary": words, "value": score.passed / total, "threshold": share}
    return found


def _of_monitors(plan: Plan, outcome: Outcome) -> dict[str, Mapping[str, Any] | None]:
    """What was not looked at anew has not passed; what it holds is held all the same."""
    return {
        m.name: None if m.passed else {"summary": m.reason, "value": m.value, "threshold": m.threshold}
        for m in outcome.monitors
        if looks_at(plan, m.name) or m.holds
    }


def _common(outcome: Outcome) -> dict[str, Any]:
    counts, spending = outcome.counts, outcome.spending
    worst = _worst(Path(outcome.quarantine_path), outcome.run_id) if outcome.quarantine_path else []
    return {
        "cost": spending.total,
        "unpriced": spending.unpriced,
        "counts": {
            "extracted": counts.extracted,
            "passed": counts.passed,
            "quarantined": counts.quarantined,
            "deferred": counts.deferred,
        },
        "simulated": outcome.simulated,
        "worst": [{"id": record_id, "reason": reason} for record_id, reason in worst],
    }


def _worst(table: Path, run_id: str) -> list[tuple[str, str]]:
    """Ids and reasons of the records with the lowest scores; those that got none, because something
    failed before, come after them."""
    ranked = heapq.nsmallest(_WORST, _ranked(table, run_id), key=lambda row: row[0])
    return [(record_id, reason) for _, record_id, reason in ranked]


def _ranked(table: Path, run_id: str) -> Iterator[tuple[tuple[float, int], str, str]]:
    columns = ["record_id", "stage", "kind", "scores", "run_id", "resolution", "position"]
    for batch in pq.ParquetFile(table, pre_buffer=False).iter_batches(_AT_ONCE, columns=columns):
        for row in batch.to_pylist():
            if row["run_id"] != run_id or row["resolution"] == "skipped":
                continue
            failed = [s for s in orjson.loads(row["scores"] or b"[]") if not s["passed"]]
            lowest = min((s["value"] or 0.0 for s in failed), default=2.0)
            reason = ", ".join(map(_score, failed)) or f"{row['stage']}: {row['kind']}"
            yield (lowest, row["position"]), row["record_id"], reason


def _score(score: Mapping[str, Any]) -> str:
    if score["value"] is None:
        return f"{score['name']} could not be scored"
    return f"{score['name']} {score['value']:.2f} < {score['threshold']:.2f}"
