"""Confidence intervals of what assertions are about: pure functions of a sample."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from loom_dagster.prompt_tests.beta import beta_cdf, beta_quantile, binomial_tail, t_quantile
from loom_dagster.prompt_tests.betting import bisected

__all__ = [
    "fraction",
    "fraction_anytime",
    "percentile",
    "percentile_anytime",
    "unbounded_mean",
    "unbounded_std",
]

Numbers = npt.NDArray[np.float64]


def fraction(k: int, n: int, alpha: float) -> tuple[float, float]:
    """``k`` of ``n``: Clopper and Pearson, Biometrika 26 (1934). Exact: never below its level, at no size and for no
    fraction, which Wilson's is."""
    low = 0.0 if k == 0 else beta_quantile(alpha / 2, k, n - k + 1)
    high = 1.0 if k == n else beta_quantile(1 - alpha / 2, k + 1, n - k)
    return low, high


def fraction_anytime(k: int, n: int, alpha: float) -> tuple[float, float]:
    """The same whenever the sampling stops: wider by about the root of log n. Robbins' mixture martingale (Ann. Math.
    Statist. 41, 1970) for Bernoulli trials with a uniform prior over the alternatives, each side at alpha/2."""
    low = bisected(lambda p: mixture(k, n, p) >= -math.log(alpha / 2), 0.0, k / n) if k else 0.0
    high = (
        1.0 - bisected(lambda p: mixture(n - k, n, p) >= -math.log(alpha / 2), 0.0, 1 - k / n)
        if k < n
        else 1.0
    )
    return low, high


def mixture(k: int, n: int, p: float) -> float:
    """Log likelihood of ``k`` of ``n`` under a fraction drawn evenly from (p, 1], over that under ``p``: a test
    supermartingale for every fraction up to ``p``, for each of those ratios is one."""
    if p <= 0.0:
        return math.inf if k else 0.0
    above = 1.0 - beta_cdf(p, k + 1, n - k + 1)
    if above <= 0.0:
        return -math.inf
    log = math.lgamma(k + 1) + math.lgamma(n - k + 1) - math.lgamma(n + 2) + math.log(above / (1 - p))
    return log - k * math.log(p) - (n - k) * math.log1p(-p)


def percentile(values: Numbers, share: float, alpha: float) -> tuple[float, float]:
    """Between two order statistics, whatever the distribution: as many values lie below the percentile as a binomial
    says (David and Nagaraja, Order Statistics, 2003, section 7.1). Unknown on a side where too few values lie."""
    ordered, n = np.sort(values), len(values)
    # the k-th smallest lies above the percentile if at most k - 1 values lie at or below it
    below = _last(lambda k: binomial_tail(k, n, share) >= 1 - alpha / 2, n)
    above = _last(lambda k: binomial_tail(k, n, 1 - share) >= 1 - alpha / 2, n)
    low = ordered[below - 1] if below else -math.inf
    high = ordered[n - above] if above else math.inf
    return float(low), float(high)


def percentile_anytime(values: Numbers, share: float, alpha: float) -> tuple[float, float]:
    """The same whenever the sampling stops: what is a candidate for the percentile has a ``share`` of all values at or
    below it, which ``mixture`` tests (Howard and Ramdas, Sequential estimation of quantiles, Bernoulli 28, 2022)."""
    ordered, n, wall = np.sort(values), len(values), -math.log(alpha / 2)
    # a candidate below the k-th smallest has at most k - 1 values at or below it: too few, if refuted
    below = _last(lambda k: mixture(n - (k - 1), n, 1 - share) >= wall, n)
    above = _last(lambda k: mixture(n - (k - 1), n, share) >= wall, n)
    low = ordered[below - 1] if below else -math.inf
    high = ordered[n - above] if above else math.inf
    return float(low), float(high)


def unbounded_mean(values: Numbers, alpha: float) -> tuple[float, float]:
    """Of costs and times, which have no upper bound, so that nothing holds without an assumption: here that the mean of
    so many is near normal but for its skewness, which Hall's transformation takes out (JRSS B 54, 1992), with
    Student's t in the place of the normal. Not below 10 values: all that could be said is then assumed."""
    n = len(values)
    if n < 10:
        return -math.inf, math.inf
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if spread == 0.0:
        return mean, mean
    skew = float((((values - mean) / spread) ** 3).mean())
    t = t_quantile(1 - alpha / 2, n - 1) / math.sqrt(n)
    return mean - spread * _unskewed(t, skew, n), mean - spread * _unskewed(-t, skew, n)


def _unskewed(u: float, skew: float, n: int) -> float:
    """The inverse of w + g w^2/3 + g^2 w^3/27 + g/(6n) with skewness g."""
    if abs(skew) < 1e-9:
        return u
    root = 1 + skew * (u - skew / (6 * n))
    return 3 / skew * (math.copysign(abs(root) ** (1 / 3), root) - 1)


def unbounded_std(values: Numbers, alpha: float) -> tuple[float, float]:
    """The root of the mean of the squared deviations, as ``unbounded_mean``; those are more skewed than the values, so
    it wants more of them. Unknown below 30."""
    n = len(values)
    if n < 30:
        return 0.0, math.inf
    low, high = unbounded_mean((values - values.mean()) ** 2 * n / (n - 1), alpha)
    return math.sqrt(max(low, 0.0)), math.sqrt(high)


def _last(holds: Callable[[int], bool], n: int) -> int:
    """The last of 1 to ``n`` for which ``holds``, which is true up to some point; 0 if it is true nowhere."""
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
