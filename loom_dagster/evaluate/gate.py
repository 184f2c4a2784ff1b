"""The gate: the scores of one record become one verdict, with a reason a person can read."""

from __future__ import annotations

from collections.abc import Sequence

from loom_dagster.records import Decision, Score
from loom_dagster.spec.models import GateSpec

__all__ = ["Gate"]

_TOLERANCE = 1e-9  # sums of floats: 0.1 + 0.2 reaches 0.3


class Gate:
    """Decides by ``spec``. A score that is missing, failed or outside 0..1 did not pass, and counts
    as 0 in a weighted gate. Without scores everything passes."""

    def __init__(self, spec: GateSpec) -> None:
        self._spec = spec

    def decide(self, scores: Sequence[Score]) -> Decision:
        """The decision, with ``scores`` in it."""
        reason = self._reason(scores) if scores else ""
        return Decision(passed=not reason, reason=reason, scores=tuple(scores))

    def _reason(self, scores: Sequence[Score]) -> str:
        """Why they do not pass; empty when they do."""
        if self._spec.type == "weighted":
            return self._weighted(scores)
        failed = [score for score in scores if not _passes(score)]
        listed = "; ".join(map(_words, failed))
        total, passed = len(scores), len(scores) - len(failed)
        if self._spec.type == "all_pass":
            return listed
        if self._spec.type == "any_pass":
            return "" if passed else f"none of {total} passed: {listed}"
        return "" if passed > total / 2 else f"{passed} of {total} passed, more than half needed: {listed}"

    def _weighted(self, scores: Sequence[Score]) -> str:
        threshold = self._spec.threshold if self._spec.threshold is not None else 1.0
        total = sum(score.weight for score in scores)
        mean = sum((_value(score) or 0.0) * score.weight for score in scores) / total
        if mean >= threshold - _TOLERANCE:
            return ""
        parts = ", ".join(f"{_part(score)} x{score.weight:g}" for score in scores)
        errors = "".join(f"; {_words(score)}" for score in scores if _value(score) is None)
        return f"weighted {_below(mean, threshold)} ({parts}){errors}"


def _value(score: Score) -> float | None:
    value = score.value
    return value if value is not None and 0.0 <= value <= 1.0 else None  # NaN is not


def _passes(score: Score) -> bool:
    value = _value(score)
    return value is not None and value >= score.threshold


def _words(score: Score) -> str:
    value = _value(score)
    if value is None:
        return f"{score.name}: {score.error or 'no score'}"
    return f"{score.name} {_below(value, score.threshold)}"


def _part(score: Score) -> str:
    value = _value(score)
    return f"{score.name} missing" if value is None else f"{score.name} {value:.2f}"


def _below(value: float, threshold: float) -> str:
    """``0.70 < 0.75``, with as many digits as it takes to see the difference."""
    for digits in range(2, 17):
        a, b = f"{value:.{digits}f}", f"{threshold:.{digits}f}"
        if a != b:
            return f"{a} < {b}"
    return f"{value!r} < {threshold!r}"
