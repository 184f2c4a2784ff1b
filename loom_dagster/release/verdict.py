"""The batch gate: whether what passed of a run may go on. Counting is the pipeline's; judging is here."""

from __future__ import annotations

from dataclasses import dataclass

from loom_dagster.spec.models import Evaluate

__all__ = ["Counts", "Verdict", "batch_verdict", "reaches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """extracted = passed + quarantined + deferred, by record id. ``skipped`` and ``source_errors``
    (rows that never became records) are among quarantined, ``fallbacks`` (fixed values) among passed."""

    extracted: int = 0
    passed: int = 0
    quarantined: int = 0
    deferred: int = 0
    skipped: int = 0
    source_errors: int = 0
    fallbacks: int = 0

    @property
    def conserved(self) -> bool:
        return self.extracted == self.passed + self.quarantined + self.deferred


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The batch gate. ``pass_rate`` None: nothing to judge. ``reason`` in words, also when passed."""

    passed: bool
    reason: str
    pass_rate: float | None = None
    threshold: float | None = None


def batch_verdict(counts: Counts, evaluate: Evaluate) -> Verdict:
    """Passed on their own merit / (extracted - deferred - source errors) >= ``batch_threshold``.

    Nothing passes that did not add up, that is not decided yet (deferred records), or of which
    nothing passed. Without a threshold everything else does; an empty run does, and says so.
    """
    threshold = evaluate.batch_threshold
    judged = counts.extracted - counts.deferred - counts.source_errors
    earned = counts.passed - counts.fallbacks
    rate = earned / judged if judged > 0 else None
    passed, reason = _decide(counts, earned, judged, rate, threshold)
    return Verdict(passed=passed, reason=reason, pass_rate=rate, threshold=threshold)


def reaches(passed: int, total: int, share: float) -> bool:
    """Whether an evaluator's own check passes: enough of the records that it scored reached its threshold."""
    return total > 0 and passed / total >= share


def _decide(
    counts: Counts, earned: int, judged: int, rate: float | None, threshold: float | None
) -> tuple[bool, str]:
    if not counts.conserved:
        settled = (
            f"{counts.passed:,} passed + {counts.quarantined:,} quarantined + {counts.deferred:,} deferred"
        )
        return False, f"records do not add up: {counts.extracted:,} extracted, but {settled}"
    if counts.extracted == 0:
        return True, "the run was empty: nothing was extracted"
    if counts.deferred:
        are = "record is" if counts.deferred == 1 else "records are"
        return (
            False,
            f"{counts.deferred:,} of {counts.extracted:,} {are} deferred: held until a run settles them",
        )
    if counts.passed == 0:
        return False, f"nothing passed: 0 of {counts.extracted:,} records"
    if rate is None:
        return False, f"nothing could be judged: all of {counts.extracted:,} records are source errors"
    shown = f"{earned:,} of {judged:,} records passed ({_percent(rate)})"
    if counts.fallbacks:
        shown += f", {counts.fallbacks:,} more by fallback values"
    if threshold is None:
        return True, f"{shown}; no batch threshold is set"
    if rate >= threshold:
        return True, f"{shown} >= batch_threshold {_percent(threshold)}"
    return False, f"{shown} < batch_threshold {_percent(threshold)}"


def _percent(share: float) -> str:
    """As many digits as it takes to tell a rate from the threshold it just misses, and not more."""
    return f"{share * 100:.4f}".rstrip("0").rstrip(".") + "%"
