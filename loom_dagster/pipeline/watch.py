"""A run's numbers, as they are kept, and what the monitors say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from loom_dagster.channels import MONITORS
from loom_dagster.ledger import Ledger, RunHandle
from loom_dagster.monitors import HISTORY_WINDOW, Budget, Facts, MonitorResult, failed_metric, judge
from loom_dagster.pipeline.outcome import Counts, ScoreSummary, Spending, Verdict
from loom_dagster.pipeline.plan import Plan

__all__ = ["Numbers", "counts_as_mapping", "held_by", "looks_at", "watch"]

_OF_SPENDING = ("cost_budget",)
_OF_COUNTS = ("rejection_rate", "empty_input")


class Numbers:
    """What is known of a run when its records are settled."""

    def __init__(
        self,
        plan: Plan,
        counts: Counts,
        spending: Spending,
        scores: Sequence[ScoreSummary],
        seconds: Mapping[str, float],
        used_up: str | None,
    ) -> None:
        """``used_up``: the budget that stopped the run."""
        self._plan, self.counts, self.spending, self._used_up = plan, counts, spending, used_up
        self.scores: Sequence[Mapping[str, Any]] = [asdict(score) for score in scores]
        self._seconds = seconds

    def facts(self) -> Facts:
        """For the monitors."""
        budgets = [Budget(name=b.name, limit=b.limit, used=b.used) for b in self.spending.budgets]
        return Facts.of(self._metrics(), self.scores, budgets=budgets, used_up=self._used_up)

    def kept(self, verdict: Verdict, monitors: Sequence[MonitorResult]) -> dict[str, float]:
        """For the ledger."""
        failed = {failed_metric(m.name): 1.0 for m in monitors if not m.passed}
        rate = {} if verdict.pass_rate is None else {"pass_rate": verdict.pass_rate}
        return {**self._metrics(), **rate, **failed}

    def _metrics(self) -> dict[str, float]:
        spending, plan = self.spending, self._plan
        values = {
            **counts_as_mapping(self.counts),
            "cost": spending.total,
            **{f"cost_{stage}": cost for stage, cost in spending.cost.items()},
            "calls": spending.calls,
            "reused": spending.reused,
            "unpriced": spending.unpriced,
            "paid_records": spending.paid_records,
            "paid_cost": spending.paid_cost,
            "input_tokens": spending.input_tokens,
            "output_tokens": spending.output_tokens,
            "latency_p50": spending.p50,
            "latency_p95": spending.p95,
            "latency_p99": spending.p99,
            "simulated": plan.simulated,
            "tried_again": plan.again,
            **{f"seconds_{name}": seconds for name, seconds in self._seconds.items()},
        }
        return {name: float(value) for name, value in values.items() if value is not None}


def watch(plan: Plan, handle: RunHandle, numbers: Numbers, ledger: Ledger) -> tuple[MonitorResult, ...]:
    """What each monitor says. Of a trial they are shown, and are no more than warnings.

    Scores and latencies of records that are tried again say nothing of the batch: what was said of the run whose
    quarantine it is stands, and without one there is nothing to say.
    """
    if plan.again:
        return tuple(_again(plan, numbers.facts()))
    past = (
        ledger.past_runs.before(
            plan.pipeline,
            "" if plan.trial else plan.partition,
            None if plan.trial else handle.run_id,
            simulated=plan.simulated,
            series=plan.series,
            limit=HISTORY_WINDOW,
        )
        if plan.monitoring.compares
        else []
    )
    history = [Facts.of(run.metrics, run.scores, data_version=run.data_version) for run in past]
    results = judge(plan.monitoring, numbers.facts(), history)
    if plan.trial:
        results = [replace(result, severity="warn", blocking=False) for result in results]
    return tuple(results)


def looks_at(plan: Plan, name: str) -> bool:
    """Whether a monitor of this name, or anything else, is judged anew."""
    if not plan.again or name not in MONITORS:
        return True
    return name in _OF_SPENDING or (plan.base is not None and name in _OF_COUNTS)


def _again(plan: Plan, facts: Facts) -> Iterator[MonitorResult]:
    before = {m["name"]: m for m in (() if plan.base is None else plan.base.monitors)}
    for result in judge(plan.monitoring, facts, ()):
        if looks_at(plan, result.name):
            yield result
        elif result.name in before:
            known = before[result.name]
            yield MonitorResult(**{f.name: known[f.name] for f in fields(MonitorResult)})
        else:
            reason = "not looked at: records of the quarantine were tried again"
            yield replace(result, passed=True, reason=reason, value=None, threshold=None)


def held_by(verdict: Verdict, monitors: Sequence[MonitorResult]) -> Verdict:
    """The verdict of the batch gate, unless a blocking monitor failed."""
    failed = [f"{m.name}: {m.reason}" for m in monitors if m.holds]
    if not failed:
        return verdict
    said = f"{'; '.join(failed)} (blocking)"
    return replace(verdict, passed=False, reason=said if verdict.passed else f"{verdict.reason}; {said}")


def counts_as_mapping(counts: Counts) -> dict[str, int]:
    names = ("extracted", "passed", "quarantined", "deferred", "skipped", "source_errors", "fallbacks")
    return {name: getattr(counts, name) for name in names}
