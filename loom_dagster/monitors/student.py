"""Student's t distribution, for whole degrees of freedom: two finite sums, and no library for them."""

from __future__ import annotations

import math

__all__ = ["t_cdf", "t_quantile"]

_STEPS = 200


def t_cdf(t: float, df: int) -> float:
    """P(T <= t). Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4: exact."""
    if df < 1:
        raise ValueError("t needs at least one degree of freedom")
    theta = math.atan2(t, math.sqrt(df))
    cos, sin = math.cos(theta), math.sin(theta)
    first, start = (cos, 3) if df % 2 else (1.0, 2)
    total, term = 0.0, first
    for k in range(start, df + 1, 2):  # sin * (1 + 1/2 cos^2 + (1*3)/(2*4) cos^4 ...), or its odd sister
        total += term
        term *= cos * cos * (k - 1) / k
    inside = 2 / math.pi * (theta + sin * total) if df % 2 else sin * total
    return 0.5 + inside / 2


def t_quantile(p: float, df: int) -> float:
    """The t that a share ``p`` (at least a half) lies below, to the last digit that a float holds."""
    if not 0.5 <= p < 1.0:
        raise ValueError("p must lie in [0.5, 1)")
    low, high = 0.0, 1.0
    while t_cdf(high, df) < p:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return high
