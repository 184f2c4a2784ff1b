"""Every monitor that is on, asked once at the end of a run."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from loom_dagster.monitors.degradation import score_degradation
from loom_dagster.monitors.facts import Facts
from loom_dagster.monitors.limits import (
    cost_budget,
    empty_input,
    latency_sla,
    quality_threshold,
    rejection_rate,
)
from loom_dagster.monitors.result import Finding, MonitorResult
from loom_dagster.monitors.spike import cost_spike
from loom_dagster.spec.models import (
    BudgetSpec,
    CostSpike,
    EmptyInput,
    LatencySla,
    Monitor,
    Monitoring,
    QualityThreshold,
    RejectionRate,
    ScoreDegradation,
)

__all__ = ["HISTORY_WINDOW", "judge"]

HISTORY_WINDOW = 100
"""How many earlier runs are worth bringing: a monitor looks at the newest 20 that it can use."""


def judge(
    spec: Monitoring, run: Facts, history: Sequence[Facts], *, only: Collection[str] | None = None
) -> list[MonitorResult]:
    """``history``: earlier runs of the pipeline that were released, newest first. ``only``: these monitors."""
    return [
        MonitorResult.of(name, _ask(monitor, run, history), monitor)
        for name, monitor in spec.monitors().items()
        if only is None or name in only
    ]


def _ask(monitor: Monitor, run: Facts, history: Sequence[Facts]) -> Finding:
    match monitor:
        case BudgetSpec():
            return cost_budget(monitor, run)
        case LatencySla():
            return latency_sla(monitor, run)
        case QualityThreshold():
            return quality_threshold(monitor, run)
        case ScoreDegradation():
            return score_degradation(monitor, run, history)
        case CostSpike():
            return cost_spike(monitor, run, history)
        case RejectionRate():
            return rejection_rate(monitor, run)
        case EmptyInput():
            return empty_input(run)
    raise TypeError(f"no such monitor: {type(monitor).__name__}")
