"""Counting while a run goes on: records, scores, money, time. In constant memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from loom_dagster.gateway import Question
from loom_dagster.ledger.spend import UNIT, Entry
from loom_dagster.pipeline.latencies import Latencies
from loom_dagster.pipeline.outcome import Counts, ScoreSummary, Spending
from loom_dagster.pipeline.route import Deferred, Fate
from loom_dagster.records import Account, Answer, Passed, Quarantined, Score, Stage

__all__ = ["Tally"]

Books = Mapping[Account, Entry]

_BINS = 10
_FATES = (
    *(
        "extracted",
        "transformed",
        "passed",
        "quarantined",
        "deferred",
        "skipped",
        "source_errors",
        "fallbacks",
    ),
    *("paid_records", "paid_cost"),
)
_CALLS = ("calls", "reused", "unpriced", "input_tokens", "output_tokens")


class _Scores:
    """Running mean and variance of one evaluator (Welford's method)."""

    def __init__(self, name: str, kind: str, threshold: float) -> None:
        self.name, self.kind, self.threshold = name, kind, threshold
        self.n = self.passed = self.errors = 0
        self.mean = self.m2 = 0.0
        self.low, self.high = math.inf, -math.inf
        self.bins = [0] * _BINS

    def add(self, score: Score) -> None:
        value = score.value
        if value is None:
            self.errors += 1
            return
        self.n += 1
        self.passed += value >= self.threshold
        delta = value - self.mean
        self.mean += delta / self.n
        self.m2 += delta * (value - self.mean)
        self.low, self.high = min(self.low, value), max(self.high, value)
        self.bins[min(int(value * _BINS), _BINS - 1)] += 1

    def counted(self) -> tuple[Any, ...]:
        return self.n, self.passed, self.errors, self.mean, self.m2, self.low, self.high, tuple(self.bins)

    def merge(self, counted: tuple[Any, ...]) -> None:
        """Chan, Golub and LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979."""
        n, passed, errors, mean, m2, low, high, bins = counted
        self.passed += passed
        self.errors += errors
        if not n:
            return
        delta, both = mean - self.mean, self.n + n
        self.mean += delta * n / both
        self.m2 += m2 + delta * delta * self.n * n / both
        self.n = both
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.bins = [ours + theirs for ours, theirs in zip(self.bins, bins, strict=True)]

    def summary(self) -> ScoreSummary:
        seen = self.n > 0
        return ScoreSummary(
            name=self.name,
            type=self.kind,
            threshold=self.threshold,
            passed=self.passed,
            failed=self.n - self.passed,
            errors=self.errors,
            mean=self.mean if seen else None,
            std=math.sqrt(self.m2 / self.n) if seen else None,
            min=self.low if seen else None,
            max=self.high if seen else None,
            histogram=tuple(self.bins),
        )


class Tally:
    """What a run has done so far. Fed by the run's own thread only."""

    def __init__(self, evaluators: Sequence[tuple[str, str, float]], monotonic: Callable[[], float]) -> None:
        """``evaluators``: name, type and threshold of each."""
        self._monotonic = monotonic
        self._began = monotonic()
        self._last = {"extract": self._began, "transform": self._began, "evaluate": self._began}
        self.extracted = self.transformed = self.passed = self.quarantined = self.deferred = 0
        self.skipped = self.source_errors = self.fallbacks = 0
        self.reasons: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self.cost = {"transform": 0.0, "evaluate": 0.0}
        self.paid_records, self.paid_cost = 0, 0.0
        self.calls = self.reused = self.unpriced = self.input_tokens = self.output_tokens = 0
        self.ahead: Mapping[
            str, int
        ] = {}  # what is known of records that are not counted yet, for those who watch
        self._latencies = Latencies()
        self._scores = {name: _Scores(name, kind, threshold) for name, kind, threshold in evaluators}

    def take(self, records: int, rejected: Iterable[Quarantined]) -> None:
        """A batch was extracted: ``records`` go on, ``rejected`` are quarantined already."""
        self._last["extract"] = self._monotonic()
        self.extracted += records
        for entry in rejected:
            self.extracted += 1
            self.quarantined += 1
            self.source_errors += 1
            self.reasons[f"{entry.stage}: {entry.kind}"] += 1

    def settle(self, fate: Fate) -> None:
        """One more record has met its fate."""
        self._last["evaluate"] = self._monotonic()
        if isinstance(fate, Deferred):
            self.deferred += 1
            return
        if fate.answers and not any(answer.reused for answer in fate.answers):
            self.paid_records += 1
            self.paid_cost += sum(answer.cost or 0.0 for answer in fate.answers)
        for score in fate.scores:
            self._scores[score.name].add(score)
        if isinstance(fate, Passed):
            self.transformed += 1
            self.passed += 1
            self.fallbacks += fate.fallback == "value"
            self.models[fate.model] += 1
            return
        self.transformed += fate.stage is not Stage.TRANSFORM
        self.quarantined += 1
        self.skipped += fate.resolution == "skipped"
        self.reasons[f"{fate.stage}: {_short(fate)}"] += 1

    def listen(self, question: Question, answer: Answer) -> None:
        """An answer came, paid for or from the store."""
        judged = question.origin.purpose.startswith("evaluate")
        if not judged:
            self._last["transform"] = self._monotonic()
        if answer.reused:
            self.reused += 1
            return
        self.calls += 1
        self.input_tokens += answer.usage.input_tokens
        self.output_tokens += answer.usage.output_tokens
        if answer.cost is None:
            self.unpriced += 1
        else:
            self.cost["evaluate" if judged else "transform"] += answer.cost
        if not judged and (answer.latency or not question.model.batch):  # a batch has none
            self._latencies.add(answer.latency)

    def counted(self) -> Mapping[str, Any]:
        """All of it as plain values, for ``merge`` of another one, in any process."""
        return {
            **{name: getattr(self, name) for name in (*_FATES, *_CALLS)},
            "reasons": dict(self.reasons),
            "models": dict(self.models),
            "cost": dict(self.cost),
            "latencies": self._latencies.counted(),
            "scores": {name: scores.counted() for name, scores in self._scores.items()},
        }

    def merge(self, counted: Mapping[str, Any]) -> None:
        """What another one has ``counted``, too, as of now."""
        for name in (*_FATES, *_CALLS):
            setattr(self, name, getattr(self, name) + counted[name])
        self.reasons.update(counted["reasons"])
        self.models.update(counted["models"])
        for stage, cost in counted["cost"].items():
            self.cost[stage] += cost
        if counted["latencies"][0]:
            self._latencies.merge(counted["latencies"])
        for name, scores in counted["scores"].items():
            self._scores[name].merge(scores)
        now = self._monotonic()
        self._last |= dict.fromkeys(self._last, now)

    def pay(self, before: Books, after: Books) -> None:
        """Money and calls are what the run's books say that came between ``before`` and ``after``: they also have what
        those paid for who died before they could tell."""
        self.cost = dict.fromkeys(self.cost, 0.0)
        self.calls = self.unpriced = self.input_tokens = self.output_tokens = 0
        for account, entry in after.items():
            old = before.get(account)
            for name in ("calls", "unpriced", "input_tokens", "output_tokens"):
                more = getattr(entry, name) - (getattr(old, name) if old else 0)
                setattr(self, name, getattr(self, name) + more)
            judged = account.purpose.startswith("evaluate")
            self.cost["evaluate" if judged else "transform"] += (
                entry.spent - (old.spent if old else 0)
            ) * UNIT

    def seconds(self) -> dict[str, float]:
        """For each stage, how long after the start it handled its last record: they overlap."""
        return {stage: last - self._began for stage, last in self._last.items()}

    @property
    def counts(self) -> Counts:
        return Counts(
            extracted=self.extracted,
            passed=self.passed,
            quarantined=self.quarantined,
            deferred=self.deferred,
            skipped=self.skipped,
            source_errors=self.source_errors,
            fallbacks=self.fallbacks,
        )

    def scores(self) -> tuple[ScoreSummary, ...]:
        return tuple(s.summary() for s in self._scores.values())

    def spending(self) -> Spending:
        return Spending(
            cost=dict(self.cost),
            calls=self.calls,
            reused=self.reused,
            unpriced=self.unpriced,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            p50=self._latencies.percentile(0.50),
            p95=self._latencies.percentile(0.95),
            p99=self._latencies.percentile(0.99),
            paid_records=self.paid_records,
            paid_cost=self.paid_cost,
        )


def _short(entry: Quarantined) -> str:
    """A reason that groups: which evaluators failed, or the kind of error."""
    if entry.kind != "gate_failed":
        return entry.kind
    failed = [s.name if s.value is not None else f"{s.name} (no score)" for s in entry.scores if not s.passed]
    return ", ".join(failed) or entry.kind
