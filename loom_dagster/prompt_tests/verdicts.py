"""What a sample says of a claim, and what a comparison of two versions found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from loom_dagster.prompt_tests.observed import Observed
from loom_dagster.records import dollars

__all__ = [
    "Change",
    "Compared",
    "Comparison",
    "Finding",
    "Interval",
    "PairTest",
    "Sampled",
    "Side",
    "Verdict",
]


class Verdict(StrEnum):
    """Of a claim about more records than were looked at."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "not enough samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Holds what is estimated with probability ``level``, whenever the sampling stopped. ``method`` for people."""

    low: float
    high: float
    level: float
    method: str

    def within(self, other: Interval | None) -> Interval:
        """Both hold at once: their intersection; ``self`` where there is none, which has probability 1 - level."""
        if other is None:
            return self
        low, high = max(self.low, other.low), min(self.high, other.high)
        if low > high:
            return other
        return Interval(low=low, high=high, level=self.level, method=self.method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One assertion. ``value`` is the sample's own, ``interval`` what is known of all records (None: of the sample
    only, or nothing yet). ``needed``: about how many records it would take where there are not enough. ``parts`` of an
    assertion with and/or. ``seen``: records that it is about."""

    text: str
    verdict: Verdict
    value: float | None = None
    interval: Interval | None = None
    needed: int | None = None
    reason: str = ""
    seen: int = 0
    parts: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A distributional test. ``planned`` is what was asked for, ``available`` what there is at most, ``seen`` what was
    looked at; ``certain`` when that is fewer because the verdict was certain. ``paid`` in USD now, ``cost`` at the
    time (None: a price is unknown), ``saved`` what the rest would have cost. ``unanswered`` had no output."""

    name: str
    type: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    planned: int
    available: int
    seen: int
    seed: int
    certain: bool = False
    saved: float | None = None
    cost: float | None = None
    paid: float = 0.0
    reused: int = 0
    unanswered: int = 0
    simulated: bool = False
    reason: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASSED

    @property
    def stopped(self) -> str:
        """``stopped after 240 of 1,000, saved about $0.31``; empty when all were asked."""
        return _stopped(self.seen, self.planned, self.saved) if self.certain else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one version made of an input. ``score`` None: there are no evaluators. ``cost`` in USD at the time (None: not
    known), ``paid`` now."""

    passed: bool
    score: float | None = None
    output: Mapping[str, Any] | None = None
    reason: str = ""
    cost: float | None = None
    paid: float = 0.0

    @classmethod
    def of(cls, seen: Observed, passed: bool | None = None, reason: str | None = None) -> Side:
        """``passed`` and ``reason`` where a test says more than the pipeline's gate."""
        return cls(
            passed=seen.passed if passed is None else passed,
            score=seen.score,
            output=seen.output,
            reason=(seen.error or seen.reason) if reason is None else reason,
            cost=seen.cost,
            paid=seen.paid,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One input, before and after. ``case`` names it; ``sample`` is the how-manieth time it was asked."""

    case: str
    before: Side
    after: Side
    sample: int = 0

    @property
    def gain(self) -> float | None:
        """How much better it scores: one that could not be judged scores 0. None where neither has a score."""
        if self.before.score is None and self.after.score is None:
            return None
        return (self.after.score or 0.0) - (self.before.score or 0.0)

    @property
    def better(self) -> bool:
        return self.after.passed and not self.before.passed

    @property
    def worse(self) -> bool:
        return self.before.passed and not self.after.passed


class Comparison(StrEnum):
    """Of two versions. WORSE fails a test."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "no difference shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTest:
    """One question put to all pairs: ``of`` is "passed" or "score". ``change`` is the mean of after minus before,
    ``p_worse`` how probable at least so bad a result is where nothing has changed, ``alpha`` what it has to be below;
    ``detectable``: the loss that so many pairs would have shown in 9 of 10 comparisons (None: not to be said)."""

    of: str
    method: str
    pairs: int
    change: float
    p_worse: float
    p_better: float
    alpha: float
    detectable: float | None = None

    @property
    def verdict(self) -> Comparison:
        if self.p_worse <= self.alpha:
            return Comparison.WORSE
        return Comparison.BETTER if self.p_better <= self.alpha else Comparison.SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two versions on the same inputs, ``of`` which say which. ``changes`` are all pairs; ``missing`` inputs that one side does not have.
    ``planned`` pairs of which ``certain`` made the rest unnecessary; ``saved`` in USD what they would have cost."""

    baseline: str
    of: str = ""
    verdict: Comparison
    tests: tuple[PairTest, ...]
    changes: Sequence[Change]
    planned: int
    missing: int = 0
    certain: bool = False
    saved: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.verdict is not Comparison.WORSE

    @property
    def stopped(self) -> str:
        """``stopped after 240 of 1,000, saved about $0.31``; empty when all were asked."""
        return _stopped(len(self.changes), self.planned, self.saved) if self.certain else ""

    @property
    def worse(self) -> list[Change]:
        """Passed before and not now, the largest loss first."""
        return sorted((c for c in self.changes if c.worse), key=_gain)

    @property
    def better(self) -> list[Change]:
        """Passes now and did not before, the largest gain first."""
        return sorted((c for c in self.changes if c.better), key=lambda c: -_gain(c))


def _stopped(seen: int, planned: int, saved: float | None) -> str:
    money = f", saved about {dollars(saved)}" if saved else ""
    return f"stopped after {seen:,} of {planned:,}{money}"


def _gain(change: Change) -> float:
    return change.gain or 0.0
