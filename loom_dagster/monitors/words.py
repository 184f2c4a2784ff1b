"""What a monitor watches over, in one line, for people."""

from __future__ import annotations

from loom_dagster.records import dollars
from loom_dagster.spec.models import (
    BudgetSpec,
    CostSpike,
    LatencySla,
    Monitor,
    QualityThreshold,
    RejectionRate,
    ScoreDegradation,
)

__all__ = ["rule"]


def rule(monitor: Monitor) -> str:
    """``p95 at most 5s; warns``."""
    if monitor.blocking:
        word = "holds the batch"
    else:
        word = "an error that holds nothing" if monitor.level == "error" else "warns"
    return f"{_rule(monitor)}; {word}"


def _rule(monitor: Monitor) -> str:
    match monitor:
        case BudgetSpec():
            limits = {"run": monitor.run, "day": monitor.day}
            return "at most " + ", ".join(f"{dollars(v)} a {k}" for k, v in limits.items() if v is not None)
        case LatencySla():
            return ", ".join(f"{name} at most {limit:g}s" for name, limit in monitor.limits.items())
        case QualityThreshold():
            return f"mean score of {monitor.evaluator or 'each evaluator'} at least {monitor.min_score:g}"
        case ScoreDegradation():
            floor = "" if monitor.min_score is None else f", and at least {monitor.min_score:g}"
            of = monitor.evaluator or "each evaluator"
            return f"mean score of {of} as in earlier runs (a drop of {monitor.min_drop:g} counts){floor}"
        case CostSpike():
            return f"at most {monitor.times:g}x the cost a record of earlier runs"
        case RejectionRate():
            return f"at most {monitor.max_rate:.4g} of the records in quarantine"
        case _:
            return "something was extracted"
