"""The monitors that look at one run alone: budget, latency, scores, rejections, input."""

from __future__ import annotations

from loom_dagster.monitors.facts import Budget, Facts
from loom_dagster.monitors.result import Finding, apart
from loom_dagster.records import dollars
from loom_dagster.spec.models import BudgetSpec, LatencySla, QualityThreshold, RejectionRate

__all__ = ["cost_budget", "empty_input", "latency_sla", "quality_threshold", "rejection_rate"]


def cost_budget(monitor: BudgetSpec, run: Facts) -> Finding:
    """Fails when one of the pipeline's own budgets was used up, or overspent where it only warns. ``value``: what is
    used of the budget that is nearest to its end."""
    limits = {"run": monitor.run, "day": monitor.day}
    used = {b.name: b for b in run.budgets}
    uses = [
        used.get(name) or Budget(name=name, limit=limit, used=run.cost)
        for name, limit in limits.items()
        if limit is not None
    ]
    failed = [use for use in uses if use.used > use.limit or run.used_up == use.name]
    nearest = max(failed or uses, key=lambda use: use.used / use.limit)
    said = "; ".join(
        f"{dollars(use.used)} of {dollars(use.limit)} a {use.name}" for use in failed or [nearest]
    )
    if run.used_up in {use.name for use in failed}:
        said += ", used up: there is no room for the next call"
    return Finding(passed=not failed, reason=said, value=nearest.used, threshold=nearest.limit)


def latency_sla(monitor: LatencySla, run: Facts) -> Finding:
    """``value``: the percentile that is farthest over its limit, or nearest to it."""
    if not run.latencies:
        return Finding(passed=True, reason="no call was paid for, so none was measured")
    measured = {name: (run.latencies[name], limit) for name, limit in monitor.limits.items()}
    slow = {name: pair for name, pair in measured.items() if pair[0] > pair[1]}
    value, limit = max((slow or measured).values(), key=lambda pair: pair[0] / pair[1])
    words = []
    for name, (seconds, most) in (slow or measured).items():
        took, allowed = apart(seconds, most)
        words.append(f"{name} {took}s {'>' if slow else '<='} {allowed}s")
    return Finding(passed=not slow, reason=", ".join(words), value=value, threshold=limit)


def quality_threshold(monitor: QualityThreshold, run: Facts) -> Finding:
    """``value``: the lowest mean. A score that could not be had is not in a mean; where none was had, though records
    came in, it fails: a missing score is never a good one."""
    if run.extracted == 0:
        return Finding(passed=True, reason="the run was empty", threshold=monitor.min_score)
    chosen = {n: s for n, s in run.scores.items() if monitor.evaluator in (None, n)}
    means = {name: s.mean for name, s in chosen.items() if s.mean is not None}
    low = {name: mean for name, mean in means.items() if mean < monitor.min_score}
    words = []
    for name, mean in (low or means).items():
        shown, least = apart(mean, monitor.min_score)
        words.append(f"{name}: mean {shown} {'<' if low else '>='} {least}")
    words += [f"{name}: no score could be had" for name in chosen if name not in means]
    return Finding(
        passed=len(means) == len(chosen) and not low,
        reason="; ".join(words) or "no evaluator was asked",
        value=min(means.values(), default=None),
        threshold=monitor.min_score,
    )


def rejection_rate(monitor: RejectionRate, run: Facts) -> Finding:
    """Of the records that are settled; rows that never became records are among them."""
    settled = run.extracted - run.deferred
    if settled == 0:
        return Finding(passed=True, reason="no record was settled", threshold=monitor.max_rate)
    rate = run.quarantined / settled
    shown, most = apart(100 * rate, 100 * monitor.max_rate)
    passed = rate <= monitor.max_rate
    said = f"{run.quarantined:,} of {settled:,} records are in quarantine ({shown}% {'<=' if passed else '>'} {most}%)"
    return Finding(passed=passed, reason=said, value=rate, threshold=monitor.max_rate)


def empty_input(run: Facts) -> Finding:
    """Also a source that has nothing new for an incremental run is empty."""
    said = "nothing was extracted" if run.extracted == 0 else f"{run.extracted:,} records were extracted"
    return Finding(passed=run.extracted > 0, reason=said, value=float(run.extracted), threshold=1.0)
