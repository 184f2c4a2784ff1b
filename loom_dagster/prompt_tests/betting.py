"""Bounds of the mean of numbers in [0, 1] that hold for any distribution, at any size, whenever the sampling stops.

Who bets against "the mean is m" gains by chance only: with probability 1 - alpha the capital never reaches 1/alpha
(Ville 1939). What bets have refuted is outside. Waudby-Smith and Ramdas, Estimating means of bounded random variables
by betting, JRSS B 86 (2024): the hedged capital process (their section 4), its two halves one bound each.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["bisected", "bounded_mean", "bounded_std", "capital", "lower_bound"]

Numbers = npt.NDArray[np.float64]

_MOST = 0.75  # of the capital that one bet may lose at worst; the paper's 1/2 or 3/4
_HALVINGS = 40


def capital(values: Numbers, mean: float, *, planned: int, alpha: float) -> Numbers:
    """Log of the capital after each value (last axis) of one who bets that the mean is above ``mean``. A test
    supermartingale for every mean up to it. The bets are sized for ``planned`` values (their equation 26)."""
    bets = np.minimum(_bets(values, planned, alpha), _MOST / max(mean, 1e-12))
    return np.asarray(np.log1p(bets * (values - mean)).cumsum(axis=-1))


def lower_bound(values: Numbers, *, planned: int, alpha: float) -> float:
    """Below the mean with probability 1 - ``alpha``, at all sizes at once."""
    if not len(values):
        return 0.0
    wall = -math.log(alpha)
    bets = _bets(values, planned, alpha)

    def refuted(mean: float) -> bool:
        grown = np.log1p(np.minimum(bets, _MOST / max(mean, 1e-12)) * (values - mean)).cumsum()
        return bool(grown.max() >= wall)

    return bisected(refuted, 0.0, 1.0)


def bounded_mean(values: Numbers, *, planned: int, alpha: float) -> tuple[float, float]:
    """Holds the mean with probability 1 - ``alpha``, at all sizes at once: the values are in the order they came."""
    low = lower_bound(values, planned=planned, alpha=alpha / 2)
    high = 1.0 - lower_bound(1.0 - values, planned=planned, alpha=alpha / 2)
    return (low, high) if low <= high else (0.0, 1.0)


def bounded_std(values: Numbers, *, planned: int, alpha: float) -> tuple[float, float]:
    """Of the standard deviation: half the squared difference of two independent values has the variance as its mean, so
    pairs of neighbours give a bounded mean, at the price of an interval about 1.4 times as wide."""
    pairs = len(values) // 2
    squares = (values[0 : 2 * pairs : 2] - values[1 : 2 * pairs : 2]) ** 2
    low, high = bounded_mean(squares, planned=max(planned // 2, 1), alpha=alpha)
    return math.sqrt(low / 2), min(math.sqrt(high / 2), 0.5)


def bisected(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where ``holds``, which is true up to some point and false from there on, changes; ``low`` if it is true nowhere."""
    if not holds(low):
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _bets(values: Numbers, planned: int, alpha: float) -> Numbers:
    """What each bet would be if nothing could be lost by it, from the values before it."""
    t = np.arange(1, values.shape[-1] + 1)
    means = (0.5 + values.cumsum(axis=-1)) / (t + 1)
    spread = (0.25 + ((values - means) ** 2).cumsum(axis=-1)) / (t + 1)
    before = np.concatenate([np.full((*values.shape[:-1], 1), 0.25), spread[..., :-1]], axis=-1)
    return np.asarray(np.sqrt(2 * math.log(1 / alpha) / (planned * before)))
