"""What a monitor says of a run."""

from __future__ import annotations

from dataclasses import dataclass

from loom_dagster.spec.models import Monitor

__all__ = ["Finding", "MonitorResult", "apart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A monitor's word before severity. ``reason`` in words, also when it passed; ``runs``: how many earlier runs it
    was compared with. ``value`` and ``threshold`` are None where there was nothing to measure or to compare with."""

    passed: bool
    reason: str
    value: float | None = None
    threshold: float | None = None
    runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorResult:
    """A monitor's word on one run, as it is kept and shown. ``runs``: how many earlier runs it was compared with."""

    name: str
    passed: bool
    reason: str
    value: float | None
    threshold: float | None
    severity: str
    blocking: bool
    runs: int = 0

    @classmethod
    def of(cls, name: str, found: Finding, monitor: Monitor) -> MonitorResult:
        return cls(
            name=name,
            passed=found.passed,
            reason=found.reason,
            value=found.value,
            threshold=found.threshold,
            severity=monitor.level,
            blocking=monitor.blocking,
            runs=found.runs,
        )

    @property
    def holds(self) -> bool:
        """Whether the batch must not go on by itself."""
        return self.blocking and not self.passed


def apart(value: float, other: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart, and not more than that."""
    for digits in (3, 4, 6, 9):
        texts = f"{value:.{digits}g}", f"{other:.{digits}g}"
        if texts[0] != texts[1] or value == other:
            return texts
    return repr(value), repr(other)
