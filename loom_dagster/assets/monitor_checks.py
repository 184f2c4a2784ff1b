"""The checks of the monitors: made from what the run stored, so that they can be run again without a model."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.graph import Lane
from loom_dagster.assets.keys import identifier
from loom_dagster.assets.translator import Check
from loom_dagster.monitors import rule

if TYPE_CHECKING:
    from loom_dagster.release import Snapshot

__all__ = ["monitor_checks", "monitor_result"]


def monitor_checks(lane: Lane, taken: Collection[str]) -> Iterator[Check]:
    """One a monitor. ``taken`` are names of evaluators, which keep them."""
    for name, monitor in lane.file.spec.monitoring.monitors().items():
        yield Check(
            pipeline=lane.name,
            name=identifier(f"{name} monitor") if name in taken else name,
            evaluator=None,
            monitor=name,
            description=f"{name}: {rule(monitor)}.",
            blocking=monitor.blocking,
        )


def monitor_result(check: Check, asset: dg.AssetKey, snapshot: Snapshot | None) -> dg.AssetCheckResult:
    """What the monitor said at the end of the run. One that holds the batch blocks until somebody releases it."""
    known = snapshot.outcome.get("monitors", ()) if snapshot else ()
    found = next((m for m in known if m["name"] == check.monitor), None)
    if snapshot is None or found is None:
        return _result(
            check, asset, False, "not looked at: the latest run was without this monitor", "warn", {}
        )
    words, severity = found["reason"], found["severity"]
    if not found["passed"] and found["blocking"] and snapshot.released_at is not None:
        words, severity = f"{words}; released by {snapshot.released_by}: {snapshot.why}", "warn"
    metadata: dict[str, Any] = {"snapshot": snapshot.id, "compared_with_runs": found["runs"]}
    metadata |= {k: float(found[k]) for k in ("value", "threshold") if found[k] is not None}
    return _result(check, asset, found["passed"], words, severity, metadata)


def _result(
    check: Check, asset: dg.AssetKey, passed: bool, words: str, severity: str, metadata: dict[str, Any]
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=check.name,
        passed=passed,
        description=words,
        metadata=metadata,
        severity=dg.AssetCheckSeverity.ERROR if severity == "error" else dg.AssetCheckSeverity.WARN,
    )
