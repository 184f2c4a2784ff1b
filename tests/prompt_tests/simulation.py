"""Suites of tests, a thousand at a time, of pipelines whose truth is known. `python -m tests.prompt_tests.simulation`
prints the tables of docs/statistics.md."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loom_dagster.prompt_tests.agreement import Confusion, agreement_interval, kappa, macro_f1
from loom_dagster.prompt_tests.betting import capital
from loom_dagster.prompt_tests.intervals import (
    fraction,
    fraction_anytime,
    mixture,
    percentile,
    unbounded_mean,
    unbounded_std,
)
from loom_dagster.prompt_tests.looks import looks
from loom_dagster.prompt_tests.pairs import Pairs, flip_p_values, mcnemar_p_value, shown_early
from loom_dagster.prompt_tests.verdicts import Comparison

Numbers = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]
ALPHA = 0.05
SUITES = 1_000
PAIRS = 800


@dataclass(frozen=True)
class Found:
    """Of the suites: the share in which a loss was ``found``, the share of those found ``early``, and how many pairs or
    records a suite used on ``average`` of those ``planned``."""

    found: float
    early: float
    average: float
    planned: int


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def passes(
    rng: np.random.Generator, n: int, before: float, after: float, *, same: float
) -> tuple[Truths, Truths]:
    """Pairs that pass with these probabilities. A share ``same`` of the inputs' luck is the same for both."""
    luck = rng.random((n, SUITES))
    other = np.where(rng.random((n, SUITES)) < same, luck, rng.random((n, SUITES)))
    return luck < before, other < after


def scores(rng: np.random.Generator, n: int, drop: float, *, noise: float = 0.1) -> Numbers:
    """Gains in score: an input's own score is skewed (mean 0.8), each version's is off by ``noise``."""
    own = rng.beta(16, 4, (n, SUITES))
    before, after = (np.clip(own - d + rng.normal(0, noise, own.shape), 0, 1) for d in (0.0, drop))
    return after - before


def regressions(before: Truths, after: Truths, gains: Numbers | None) -> Found:
    """What ``run_regression`` would find, by the same functions."""
    n, suites = before.shape
    plan = looks(n)
    worse, better = (before & ~after).cumsum(axis=0), (~before & after).cumsum(axis=0)

    def pairs(at: int, suite: int) -> Pairs:
        lost, won = int(worse[at - 1, suite]), int(better[at - 1, suite])
        return Pairs(at, lost, won, None if gains is None else gains[:at, suite])

    ended, verdicts = np.full(suites, n), [Comparison.SAME] * suites
    for suite in range(suites):
        for look in plan[:-1]:
            verdicts[suite] = shown_early(pairs(look.n, suite), look, ALPHA)
            if verdicts[suite] is not Comparison.SAME:
                ended[suite] = look.n
                break
    early = np.array([v is Comparison.WORSE for v in verdicts])
    each = plan[-1].final(pairs(n, 0).each(ALPHA))
    final = np.array([mcnemar_p_value(int(worse[-1, s]), int(better[-1, s])) <= each for s in range(suites)])
    if gains is not None:
        final |= flip_p_values(gains)[0] <= each
    found = early | (final & np.array([v is Comparison.SAME for v in verdicts]))
    return Found(float(found.mean()), float(early.mean()), float(ended.mean()), n)


def mean_below(values: Numbers, bound: float) -> tuple[Found, float]:
    """``mean(scores) >= bound``: how often it fails, and how often it passes. ``values``: (suites, n)."""
    n, wall = values.shape[1], -math.log(ALPHA / 2)
    at = [look.n - 1 for look in looks(n)]
    low = (
        np.maximum.accumulate(capital(1 - values, 1 - bound, planned=n, alpha=ALPHA / 2), axis=1)[:, at]
        >= wall
    )
    high = np.maximum.accumulate(capital(values, bound, planned=n, alpha=ALPHA / 2), axis=1)[:, at] >= wall
    return _sequential(low, high, n)


def fraction_below(hits: Truths, bound: float) -> tuple[Found, float]:
    """``fraction(passed) >= bound``, likewise."""
    n = hits.shape[1]
    counts = hits.cumsum(axis=1)
    low, high = [], []
    for look in looks(n):
        ends = [_ends(int(k), look.n, look.last) for k in counts[:, look.n - 1]]
        low.append([e[1] < bound for e in ends])
        high.append([e[0] > bound for e in ends])
    return _sequential(np.array(low).T, np.array(high).T, n)


@functools.lru_cache(maxsize=100_000)
def _ends(k: int, n: int, last: bool) -> tuple[float, float]:
    return fraction(k, n, 0.8 * ALPHA) if last else fraction_anytime(k, n, 0.2 * ALPHA)


def _sequential(low: Truths, high: Truths, n: int) -> tuple[Found, float]:
    sizes = np.array([look.n for look in looks(n)])
    either = low | high
    first = np.where(either.any(axis=1), either.argmax(axis=1), len(sizes) - 1)
    rows = np.arange(len(low))
    failed, passed = low[rows, first], high[rows, first] & ~low[rows, first]
    early = failed & (first < len(sizes) - 1)
    return Found(float(failed.mean()), float(early.mean()), float(sizes[first].mean()), n), float(
        passed.mean()
    )


def missed_by_bets(values: Numbers, mean: float) -> float:
    """How often the interval leaves the true mean out at any size from 1 on. ``values``: (suites, n)."""
    n, wall = values.shape[1], -math.log(ALPHA / 2)
    above = capital(values, mean, planned=n, alpha=ALPHA / 2).max(axis=1) >= wall
    below = capital(1 - values, 1 - mean, planned=n, alpha=ALPHA / 2).max(axis=1) >= wall
    return float((above | below).mean())


def missed_by_pairs(values: Numbers, std: float) -> float:
    """Likewise of the standard deviation."""
    half = values.shape[1] // 2 * 2
    return missed_by_bets((values[:, 0:half:2] - values[:, 1:half:2]) ** 2, 2 * std**2)


def missed_by_mixture(hits: Truths, share: float) -> float:
    """How often the interval of a fraction leaves the truth out at any size, or the exact one at the last."""
    counts, n, wall = hits.cumsum(axis=1), hits.shape[1], -math.log(0.2 * ALPHA / 2)

    @functools.cache
    def refuted(k: int, size: int) -> bool:
        return mixture(k, size, share) >= wall or mixture(size - k, size, 1 - share) >= wall

    missed = 0
    for row in counts:
        low, high = fraction(int(row[-1]), n, 0.8 * ALPHA)
        missed += not low <= share <= high or any(refuted(int(k), m) for m, k in enumerate(row, 1))
    return missed / len(counts)


def missed(ends: Callable[[Numbers], tuple[float, float]], truth: float, values: Numbers) -> float:
    """How often ``ends`` of a sample (a row) do not hold the ``truth``."""
    return float(np.mean([not low <= truth <= high for low, high in map(ends, values)]))


def missed_by_agreement(measure: Callable[[Numbers], Numbers], share: float, n: int, suites: int) -> float:
    """Three classes of unequal size, a ``share`` right and the rest spread over the two others."""
    sizes = np.array([0.6, 0.3, 0.1])
    truth = np.diag(sizes * share) + (1 - np.eye(3)) * (sizes * (1 - share) / 2)[:, None]
    draws = generator(11).multinomial(n, truth.ravel(), size=suites).reshape(-1, 3, 3).astype(float)
    found = [agreement_interval(Confusion(("a", "b", "c"), d), measure, ALPHA) for d in draws]
    value = float(measure(truth))
    return float(np.mean([not low <= value <= high for low, high in found]))


def tables() -> Iterator[str]:
    yield ("| 800 pairs | found | of these early | pairs asked on average |\n|---|---|---|---|")
    cases: list[tuple[str, float, float, float, bool]] = [
        ("passing 0.95 -> 0.90, luck independent", 0.90, 0.0, 0.0, True),
        ("passing 0.95 -> 0.90, half of the luck shared", 0.90, 0.5, 0.0, True),
        ("passing 0.95 -> 0.90, luck shared: what failed still fails", 0.90, 1.0, 0.0, True),
        ("the same, no evaluators, luck independent", 0.90, 0.0, 0.0, False),
        ("mean score 0.05 lower, passing unchanged", 0.95, 0.0, 0.05, True),
        ("nothing changed, luck independent", 0.95, 0.0, 0.0, True),
        ("nothing changed, half of the luck shared", 0.95, 0.5, 0.0, True),
        ("nothing changed, no evaluators", 0.95, 0.0, 0.0, False),
    ]
    for text, after, same, drop, scored in cases:
        rng = generator(3)
        b, a = passes(rng, PAIRS, 0.95, after, same=same)
        f = regressions(b, a, scores(rng, PAIRS, drop) if scored else None)
        yield (f"| {text} | {f.found:.1%} | {f.early / f.found if f.found else 0:.0%} | {f.average:.0f} |")
    yield (
        "\n| pairs | passing 0.95 -> 0.90, independent | shared | score 0.05 lower | false alarms |\n|---|---|---|---|---|"
    )
    for n in (100, 200, 300, 400, 500, 600, 800, 1000):
        rng = generator(4)
        gains = scores(rng, n, 0.0)
        one = regressions(*passes(rng, n, 0.95, 0.90, same=0.0), gains).found
        two = regressions(*passes(rng, n, 0.95, 0.90, same=1.0), gains).found
        three = regressions(*passes(rng, n, 0.95, 0.95, same=0.5), scores(rng, n, 0.05)).found
        four = regressions(*passes(rng, n, 0.95, 0.95, same=0.5), gains).found
        yield (f"| {n:,} | {one:.1%} | {two:.1%} | {three:.1%} | {four:.1%} |")
    yield (
        "\n| assertion | truth | records | fails | passes | records asked on average |\n|---|---|---|---|---|---|"
    )
    for n in (200, 500, 1000):
        for truth in (0.75, 0.80, 0.85):
            b = truth * 20
            f, p = mean_below(generator(5).beta(b, 20 - b, (SUITES, n)), 0.8)
            yield (f"| mean(scores) >= 0.8 | {truth} | {n:,} | {f.found:.1%} | {p:.1%} | {f.average:.0f} |")
    for n in (500, 1000):
        for truth in (0.90, 0.95, 0.98):
            f, p = fraction_below(generator(6).random((SUITES, n)) < truth, 0.95)
            yield (
                f"| fraction(passed) >= 0.95 | {truth} | {n:,} | {f.found:.1%} | {p:.1%} | {f.average:.0f} |"
            )
    yield ("\n| interval | of | missed |\n|---|---|---|")
    rng, shape = generator(7), (SUITES, 500)
    for name, draw, mean, std in BOUNDED:
        x = draw(rng, shape)
        yield (f"| mean by betting, at any size to 500 | {name} | {missed_by_bets(x, mean):.1%} |")
        yield (f"| std by betting, at any size to 500 | {name} | {missed_by_pairs(x, std):.1%} |")
    for p in (0.01, 0.05, 0.5, 0.9):
        yield (f"| fraction, at any size to 500 | {p} | {missed_by_mixture(rng.random(shape) < p, p):.1%} |")
    for q in (0.5, 0.95):
        x, truth = rng.lognormal(0, 1, (SUITES, 200)), math.exp({0.5: 0.0, 0.95: 1.6448536}[q])
        yield (
            f"| percentile {q:.0%}, 200 | lognormal(1) | {missed(lambda v, q=q: percentile(v, q, ALPHA), truth, x):.1%} |"
        )
    for name, draw, mean, std in UNBOUNDED:
        for n in (50, 200, 1000):
            x = draw(rng, (SUITES, n))
            by = (
                missed(lambda v: unbounded_mean(v, ALPHA), mean, x),
                missed(lambda v: unbounded_std(v, ALPHA), std, x),
            )
            yield (f"| mean, std of what has no bound, {n} | {name} | {by[0]:.1%}, {by[1]:.1%} |")
    for share in (0.7, 0.9, 0.97):
        for n in (50, 200, 800):
            by = missed_by_agreement(macro_f1, share, n, 500), missed_by_agreement(kappa, share, n, 500)
            yield (f"| F1, kappa, {n} | accuracy {share} | {by[0]:.1%}, {by[1]:.1%} |")


Draw = Callable[[np.random.Generator, tuple[int, int]], Numbers]
BOUNDED: list[tuple[str, Draw, float, float]] = [
    ("Beta(8, 2)", lambda rng, s: rng.beta(8, 2, s), 0.8, math.sqrt(16 / (100 * 11))),
    ("Beta(1/2, 1/2)", lambda rng, s: rng.beta(0.5, 0.5, s), 0.5, math.sqrt(1 / 8)),
    ("0 or 1, 5% ones", lambda rng, s: (rng.random(s) < 0.05).astype(float), 0.05, math.sqrt(0.0475)),
    ("0 or 1, 95% ones", lambda rng, s: (rng.random(s) < 0.95).astype(float), 0.95, math.sqrt(0.0475)),
    ("1 but for 2% zeros", lambda rng, s: 1.0 - (rng.random(s) < 0.02), 0.98, math.sqrt(0.0196)),
]
UNBOUNDED: list[tuple[str, Draw, float, float]] = [
    ("gamma(4)", lambda rng, s: rng.gamma(4, 1, s), 4.0, 2.0),
    (
        "lognormal(0.5)",
        lambda rng, s: rng.lognormal(0, 0.5, s),
        math.exp(0.125),
        math.sqrt(math.expm1(0.25) * math.exp(0.25)),
    ),
    ("exponential", lambda rng, s: rng.exponential(1, s), 1.0, 1.0),
    ("lognormal(1)", lambda rng, s: rng.lognormal(0, 1, s), math.exp(0.5), math.sqrt(math.expm1(1) * math.e)),
]

if __name__ == "__main__":
    for line in tables():
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
