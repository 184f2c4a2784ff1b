"""What an assertion may say of many records: each statistic with its value in the sample and what is known of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loom_dagster.prompt_tests.agreement import (
    Measure,
    accuracy,
    agreement_interval,
    confusion,
    kappa,
    macro_f1,
    macro_precision,
    macro_recall,
)
from loom_dagster.prompt_tests.betting import bounded_mean, bounded_std
from loom_dagster.prompt_tests.intervals import (
    fraction,
    fraction_anytime,
    percentile,
    percentile_anytime,
    unbounded_mean,
    unbounded_std,
)
from loom_dagster.prompt_tests.looks import Look

__all__ = ["AGREEMENT", "OF_THE_SAMPLE", "OWN", "Estimate", "agreement", "estimate"]

Numbers = npt.NDArray[np.float64]
Ends = tuple[float, float]
OF_THE_SAMPLE = "of the sample itself, not of all records"
OWN = frozenset({"min", "max", "count"})
"""Of the sample itself: no interval is claimed."""
AGREEMENT: Mapping[str, Measure] = {
    "accuracy": accuracy,
    "f1": macro_f1,
    "precision": macro_precision,
    "recall": macro_recall,
    "kappa": kappa,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """``value`` in the sample; ``low`` and ``high`` hold what it is of all records. None: not looked at this time.
    ``method`` for people. ``successes`` of a fraction."""

    value: float
    low: float
    high: float
    method: str
    successes: int | None = None


def estimate(
    function: str, values: Sequence[float], look: Look, alpha: float, *, bounded: bool, share: float = 0.5
) -> Estimate | None:
    """``function`` of ``values``, which are in the order they came: mean, std, min, max, median, percentile (``share`` of
    the values lie below it), fraction or count. ``bounded``: they lie in [0, 1]. None: nothing to say at this look."""
    if not values:
        return None
    x = np.asarray(values, np.float64)
    match function:
        case "fraction":
            return _fraction(x, look, alpha)
        case "mean" if bounded:
            ends = bounded_mean(x, planned=look.planned, alpha=alpha)
            return _found(float(x.mean()), ends, "by betting")
        case "std" if bounded:
            ends = bounded_std(x, planned=look.planned, alpha=alpha)
            return _found(_std(x), ends, "by betting, over pairs")
        case "mean":
            return _spending(
                float(x.mean()), lambda a: unbounded_mean(x, a), look, alpha, "t, skewness removed"
            )
        case "std":
            return _spending(_std(x), lambda a: unbounded_std(x, a), look, alpha, "t, skewness removed")
        case "count":
            k = float(x.sum())
            rest = look.planned - len(x)
            return _found(k, (k, k + rest), OF_THE_SAMPLE)
        case "min" | "max":
            return _extreme(function, x, look, bounded=bounded)
        case "median" | "percentile":
            return _percentile(x, share, look, alpha, bounded=bounded)
    raise ValueError(f"no statistic is called {function}")


def agreement(
    measure: str, truth: Sequence[str], said: Sequence[str], look: Look, alpha: float
) -> Estimate | None:
    """One of AGREEMENT, of what was ``said`` against the ``truth``."""
    if not truth:
        return None
    if measure == "accuracy":
        agreed = [float(t == s) for t, s in zip(truth, said, strict=True)]
        return estimate("fraction", agreed, look, alpha, bounded=True)
    found, of = confusion(truth, said), AGREEMENT[measure]
    return _spending(
        float(of(found.counts)), lambda a: agreement_interval(found, of, a), look, alpha, "BCa bootstrap"
    )


def _fraction(x: Numbers, look: Look, alpha: float) -> Estimate:
    k, n = int(x.sum()), len(x)
    if look.last:
        ends, method = fraction(k, n, look.final(alpha)), "Clopper-Pearson"
    else:
        ends, method = fraction_anytime(k, n, look.early(alpha)), "mixture martingale"
    return Estimate(value=k / n, low=ends[0], high=ends[1], method=method, successes=k)


def _percentile(x: Numbers, share: float, look: Look, alpha: float, *, bounded: bool) -> Estimate:
    value = float(np.quantile(x, share))
    if share in (0.0, 1.0):
        return _extreme("max" if share else "min", x, look, bounded=bounded)
    if look.last:
        low, high = percentile(x, share, look.final(alpha))
    else:
        low, high = percentile_anytime(x, share, look.early(alpha))
    if bounded:
        low, high = max(low, 0.0), min(high, 1.0)
    return Estimate(value=value, low=low, high=high, method="order statistics")


def _extreme(function: str, x: Numbers, look: Look, *, bounded: bool) -> Estimate:
    """Of the sample itself: no sample bounds what all records may hold. Before the last look it can still move."""
    least, most = (0.0, 1.0) if bounded else (-math.inf, math.inf)
    value = float(x.min() if function == "min" else x.max())
    low = value if look.last or function == "max" else least
    high = value if look.last or function == "min" else most
    return Estimate(value=value, low=low, high=high, method=OF_THE_SAMPLE)


def _spending(
    value: float, ends: Callable[[float], Ends], look: Look, alpha: float, method: str
) -> Estimate | None:
    spent = look.spent(alpha)
    return None if spent is None else _found(value, ends(spent), method)


def _found(value: float, ends: Ends, method: str) -> Estimate:
    return Estimate(value=value, low=ends[0], high=ends[1], method=method)


def _std(x: Numbers) -> float:
    return float(x.std(ddof=1)) if len(x) > 1 else 0.0
