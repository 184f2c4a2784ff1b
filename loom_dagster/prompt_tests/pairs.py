"""Whether the second of two versions is worse, from what both made of the same inputs.

Two questions are put to the pairs, each with half of the error: do fewer pass (McNemar's exact test), and do they score
lower (a permutation test). Both hold where each input's answers are equally distributed under both versions; with
several pairs per input they are about these inputs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loom_dagster.prompt_tests.beta import beta_quantile, binomial_tail, normal_cdf, normal_quantile
from loom_dagster.prompt_tests.betting import capital
from loom_dagster.prompt_tests.intervals import mixture
from loom_dagster.prompt_tests.looks import Look
from loom_dagster.prompt_tests.verdicts import Change, Comparison, PairTest

__all__ = ["POWER", "Pairs", "flip_p_values", "mcnemar_p_value", "pair_tests", "shown_early", "verdict_of"]

Numbers = npt.NDArray[np.float64]
POWER = 0.9
_SWAPS = 4_999
_MANY = 1_000  # pairs: beyond, the sum of so many swaps is normal
_FEW = 12  # pairs: all their swaps are fewer


def mcnemar_p_value(worse: int, better: int) -> float:
    """How probable so many of the pairs that differ are worse where nothing has changed: a fair coin's tail (McNemar,
    Psychometrika 12, 1947; exact, one-sided)."""
    return binomial_tail(worse, worse + better, 0.5)


def flip_p_values(gains: Numbers) -> tuple[Numbers, Numbers]:
    """How probable a mean gain so low, and one so high, is where nothing has changed: before and after may then be
    swapped in each pair (Fisher's randomisation test, The Design of Experiments, 1935, section 21). All swaps of up to
    12 pairs; 4,999 random ones, with the observed one counted in (Phipson and Smyth, 2010); their normal limit beyond
    1,000 pairs. ``gains`` may have a second axis of comparisons: each has its own values."""
    total, n = gains.sum(axis=0), len(gains)
    if n > _MANY:
        spread = np.sqrt((gains**2).sum(axis=0))
        z = np.divide(total, spread, out=np.zeros_like(spread), where=spread > 0)
        low = np.vectorize(normal_cdf, otypes=[np.float64])(z)
        return low, 1 - low
    signs = _swaps(n)
    near = 1e-6 * (1 + np.abs(gains).sum(axis=0))
    swapped = signs @ gains.astype(np.float32)
    extra = 1 if n > _FEW else 0
    low = ((swapped <= total + near).sum(axis=0) + extra) / (len(signs) + extra)
    high = ((swapped >= total - near).sum(axis=0) + extra) / (len(signs) + extra)
    return np.asarray(low), np.asarray(high)


@functools.lru_cache(maxsize=2)
def _swaps(n: int) -> npt.NDArray[np.float32]:
    """The same ones each time, so that a comparison comes to the same today and tomorrow."""
    if n <= _FEW:
        return (1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)).astype(np.float32)
    return np.random.default_rng(n).choice(np.array([-1, 1], np.float32), size=(_SWAPS, n))


@dataclass(frozen=True, slots=True)
class Pairs:
    """What the tests are made of: how many ``worse`` and ``better`` of ``n`` pairs, and what each gains in score (None:
    there are no evaluators)."""

    n: int
    worse: int
    better: int
    gains: Numbers | None = None

    @classmethod
    def of(cls, changes: Sequence[Change]) -> Pairs:
        gains = [change.gain for change in changes]
        scored = any(gain is not None for gain in gains)
        return cls(
            n=len(changes),
            worse=sum(c.worse for c in changes),
            better=sum(c.better for c in changes),
            gains=np.array([gain or 0.0 for gain in gains], np.float64) if scored else None,
        )

    def each(self, alpha: float) -> float:
        """What may go wrong in each question."""
        return alpha if self.gains is None else alpha / 2


def pair_tests(pairs: Pairs, look: Look, alpha: float) -> tuple[PairTest, ...]:
    """Both questions at the last look; without evaluators there is one, with all of ``alpha``."""
    n, worse, better, gains = pairs.n, pairs.worse, pairs.better, pairs.gains
    each = look.final(pairs.each(alpha))
    tests = [
        PairTest(
            of="passed",
            method="McNemar, exact",
            pairs=n,
            change=(better - worse) / n if n else 0.0,
            p_worse=mcnemar_p_value(worse, better),
            p_better=mcnemar_p_value(better, worse),
            alpha=each,
            detectable=_detectable_share(n, (worse + better) / n if n else 0.0, each),
        )
    ]
    if gains is not None:
        p_worse, p_better = flip_p_values(gains)
        tests.append(
            PairTest(
                of="score",
                method="swaps within pairs",
                pairs=n,
                change=float(gains.mean()),
                p_worse=float(p_worse),
                p_better=float(p_better),
                alpha=each,
                detectable=_detectable_score(gains, each),
            )
        )
    return tuple(tests)


def shown_early(pairs: Pairs, look: Look, alpha: float) -> Comparison:
    """What is certain before the last look, by methods that hold whenever one stops: a mixture martingale over the pairs
    that differ, and bets on the scores, as for the claims of a sample."""
    gains, each = pairs.gains, look.early(pairs.each(alpha))
    wall, differing = -math.log(each), pairs.worse + pairs.better
    for verdict, more, sign in (
        (Comparison.WORSE, pairs.worse, -1.0),
        (Comparison.BETTER, pairs.better, 1.0),
    ):
        if mixture(more, differing, 0.5) >= wall:
            return verdict
        if gains is not None:
            grown = capital((1 + sign * gains) / 2, 0.5, planned=look.planned, alpha=each)
            if grown.max() >= wall:
                return verdict
    return Comparison.SAME


def verdict_of(tests: Sequence[PairTest]) -> Comparison:
    """Worse in one respect is worse."""
    found = {test.verdict for test in tests}
    if Comparison.WORSE in found:
        return Comparison.WORSE
    return Comparison.BETTER if Comparison.BETTER in found else Comparison.SAME


def _detectable_share(n: int, differing: float, alpha: float) -> float | None:
    """The drop of the pass rate that ``n`` pairs show with probability POWER: if all pairs that differ are worse, exactly
    (so many that a fair coin would hardly fall so); and not less than the normal limit says (Connor, Biometrics 43,
    1987) where a share of ``differing`` pairs differ either way."""
    least = math.ceil(-math.log2(alpha))
    if n < least:
        return None
    alone = beta_quantile(POWER, least, n - least + 1)
    both = (normal_quantile(1 - alpha) + normal_quantile(POWER)) * math.sqrt(differing / n)
    return min(max(alone, both), 1.0)


def _detectable_score(gains: Numbers, alpha: float) -> float | None:
    if len(gains) < math.ceil(-math.log2(alpha)):
        return None
    spread = float(gains.std(ddof=1))
    return (normal_quantile(1 - alpha) + normal_quantile(POWER)) * spread / math.sqrt(len(gains)) or None
