"""cost_spike: whether a record costs a multiple of what it did.

Looked at is what a record costs of which every answer was paid for in the run: a run that took everything from the store
has no such record and can neither alarm nor make the others look dear. The median of the earlier runs is not
moved by one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from loom_dagster.monitors.facts import Facts
from loom_dagster.monitors.result import Finding
from loom_dagster.records import dollars
from loom_dagster.spec.models import CostSpike

__all__ = ["LEAST_RUNS", "cost_spike"]

LEAST_RUNS = 3
WINDOW = 20


def cost_spike(monitor: CostSpike, run: Facts, history: Sequence[Facts]) -> Finding:
    """``history``: newest first."""
    if run.paid_records < monitor.min_records:
        few = f"too few records were paid for to compare, {run.paid_records:,} of {monitor.min_records:,}"
        return Finding(passed=True, reason="nothing was paid for" if run.paid_records == 0 else few)
    each = run.paid_cost / run.paid_records
    usable = [f for f in history if f.paid_records >= monitor.min_records][:WINDOW]
    earlier = [f.paid_cost / f.paid_records for f in usable if "cost_spike" not in f.failed]
    if len(earlier) < LEAST_RUNS:
        few = f"{dollars(each)} a record; not enough history, {len(earlier)} of {LEAST_RUNS} runs"
        return Finding(passed=True, reason=few, value=each, runs=len(earlier))
    usual = median(earlier)
    most = monitor.times * usual
    if usual == 0:
        free = f"{dollars(each)} a record; the {len(earlier)} runs before cost nothing known"
        return Finding(passed=True, reason=free, value=each, runs=len(earlier))
    passed = each <= most
    reason = (
        f"{dollars(each)} a record, {each / usual:.3g}x the {dollars(usual)} of {len(earlier)} runs "
        f"({'at most' if passed else 'more than'} {monitor.times:g}x)"
    )
    if run.unpriced:
        reason += f"; {run.unpriced:,} calls of unknown price are not counted"
    return Finding(passed=passed, reason=reason, value=each, threshold=most, runs=len(earlier))
