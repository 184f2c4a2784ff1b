"""score_degradation: whether the scores of a run are worse than chance makes those of a good one.

The means of a pipeline's runs differ for two reasons: each is a mean of so many noisy scores, and each run has other
records. So this run is one more draw from a random-effects model of the runs before it: mean_i = mu + b_i + e_i with
Var(b) = tau^2 and Var(e_i) = s_i^2 / n_i. tau^2 is estimated by moments (Hedges and Olkin, Statistical Methods for
Meta-Analysis, 1985, chapter 9: the variance between the means less the mean of the variances within, at least 0).
The new mean lies above

    M - t(1 - alpha, k - 1) * sqrt(tau^2 + s^2/n + S^2/k)

with probability 1 - alpha, where M and S^2 are mean and variance of the k earlier means: the one-sided prediction bound
of Higgins, Thompson and Spiegelhalter (JRSS A 172, 2009). s^2 is the larger of this run's variance and that of the earlier
ones pooled: a small run whose scores happen to be equal is not a sure one. alpha is shared by the evaluators that are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

from loom_dagster.monitors.facts import Facts, Scores
from loom_dagster.monitors.result import Finding, apart
from loom_dagster.monitors.student import t_quantile
from loom_dagster.spec.models import ScoreDegradation

__all__ = ["ALPHA", "LEAST_RUNS", "lower_bound", "score_degradation"]

ALPHA = 0.01
LEAST_RUNS = 5
WINDOW = 20


def score_degradation(monitor: ScoreDegradation, run: Facts, history: Sequence[Facts]) -> Finding:
    """``history``: newest first. The word on the evaluator that is worst off, and what there is to say of each."""
    names = [n for n in run.scores if monitor.evaluator in (None, n)]
    found = [_of_one(monitor, name, run.scores[name], history, ALPHA / len(names)) for name in names]
    if not found:
        return Finding(passed=True, reason="no evaluator was asked")
    worst = min(found, key=lambda f: (f.passed, _margin(f)))
    shown = [f for f in found if not f.passed] or found
    return Finding(
        passed=worst.passed,
        reason="; ".join(f.reason for f in shown),
        value=worst.value,
        threshold=worst.threshold,
        runs=worst.runs,
    )


def lower_bound(run: Scores, earlier: Sequence[Scores], *, alpha: float) -> tuple[float, float]:
    """The mean of the earlier means, and how far below it a mean like this run's falls by chance with
    probability ``alpha``. Every one has a mean; at least two are wanted."""
    means = [s.mean or 0.0 for s in earlier]
    within = [_variance(s) for s in earlier]
    between = variance(means)
    tau2 = max(0.0, between - fmean(v / s.n for v, s in zip(within, earlier, strict=True)))
    pooled = sum(v * (s.n - 1) for v, s in zip(within, earlier, strict=True)) / sum(s.n - 1 for s in earlier)
    spread = tau2 + max(_variance(run), pooled) / run.n + between / len(earlier)
    return fmean(means), t_quantile(1 - alpha, len(earlier) - 1) * math.sqrt(spread)


def _of_one(
    monitor: ScoreDegradation, name: str, run: Scores, history: Sequence[Facts], alpha: float
) -> Finding:
    if run.mean is None:
        return Finding(passed=True, reason=f"{name}: no scores")
    floor = monitor.min_score
    if floor is not None and run.mean < floor:
        mean, least = apart(run.mean, floor)
        return Finding(passed=False, reason=f"{name}: mean {mean} < {least}", value=run.mean, threshold=floor)
    least_records = max(monitor.min_records, 2)
    if run.n < least_records:
        few = f"{name}: too few scores to compare, {run.n} of {least_records}"
        return Finding(passed=True, reason=few, value=run.mean, threshold=floor)
    earlier = _comparable(name, run, history, least_records)
    if len(earlier) < LEAST_RUNS:
        few = f"{name}: not enough history, {len(earlier)} of {LEAST_RUNS} runs"
        return Finding(passed=True, reason=few, value=run.mean, threshold=floor, runs=len(earlier))
    usual, chance = lower_bound(run, earlier, alpha=alpha)
    bound = usual - max(chance, monitor.min_drop)
    threshold = bound if floor is None else max(bound, floor)
    mean, least = apart(run.mean, bound)
    passed = run.mean >= bound
    before = f"the {len(earlier)} runs before had {usual:.3g}"
    return Finding(
        passed=passed,
        reason=f"{name}: mean {mean} {'>=' if passed else '<'} {least}; {before}",
        value=run.mean,
        threshold=threshold,
        runs=len(earlier),
    )


def _comparable(name: str, run: Scores, history: Sequence[Facts], least_records: int) -> list[Scores]:
    """The same evaluator in the newest of the earlier runs, less those that failed: a drop that lasts becomes the
    new level when the runs before it have left the window. Runs over the same records with the same answers and scores are
    one: to repeat them says nothing of how much runs differ."""
    usable: dict[object, tuple[Facts, Scores]] = {}
    for number, facts in enumerate(history):
        scores = facts.scores.get(name)
        if scores is None or scores.type != run.type or scores.mean is None or scores.n < least_records:
            continue
        same = number if facts.data_version is None else (facts.data_version, scores)
        usable.setdefault(same, (facts, scores))
    newest = list(usable.values())[:WINDOW]
    return [scores for facts, scores in newest if "score_degradation" not in facts.failed]


def _variance(scores: Scores) -> float:
    """Of single scores, unbiased; at least two are there."""
    return (scores.std or 0.0) ** 2 * scores.n / (scores.n - 1)


def _margin(found: Finding) -> float:
    """How far above its threshold; what cannot be compared comes last."""
    return math.inf if found.value is None or found.threshold is None else found.value - found.threshold
