"""The beta distribution, and with it the binomial and Student's t, without a library of 100 MB."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

__all__ = ["beta_cdf", "beta_quantile", "binomial_tail", "normal_cdf", "normal_quantile", "t_quantile"]

_NORMAL = NormalDist()
_TINY = 1e-300
_EPS = 1e-15
_TERMS = 100_000
_HALVINGS = 100


@functools.lru_cache(maxsize=65_536)
def beta_cdf(x: float, a: float, b: float) -> float:
    """P(B <= x) for B ~ Beta(a, b): the regularised incomplete beta function, by the continued fraction of the NIST
    Digital Library of Mathematical Functions 8.17.22, evaluated by Lentz's method as modified by Thompson and Barnett
    (J. Comput. Phys. 64, 1986). About 14 digits."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on one side only
        return 1.0 - beta_cdf(1.0 - x, b, a)
    log = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log) * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1))
    total = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1.0 / _away(1.0 + term * d), _away(1.0 + term / c)
            total *= d * c
        if abs(d * c - 1.0) < _EPS:
            break
    return total


def _away(x: float) -> float:
    """From zero."""
    return x if abs(x) > _TINY else _TINY


@functools.lru_cache(maxsize=65_536)
def beta_quantile(p: float, a: float, b: float) -> float:
    """The x that a share ``p`` lies below."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if beta_cdf(middle, a, b) < p else (low, middle)
    return (low + high) / 2


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) for X ~ Binomial(n, p). Exact (DLMF 8.17.5)."""
    if k <= 0:
        return 1.0
    return 0.0 if k > n else beta_cdf(p, k, n - k + 1)


@functools.lru_cache(maxsize=4_096)
def t_quantile(p: float, df: int) -> float:
    """The t that a share ``p`` (at least a half) lies below: T^2/(df + T^2) ~ Beta(1/2, df/2)."""
    share = beta_quantile(2 * (1 - p), df / 2, 0.5)  # of df/(df + T^2)
    return math.sqrt(df * (1 - share) / share) if share > 0 else math.inf


def normal_quantile(p: float) -> float:
    """The z that a share ``p`` lies below."""
    return _NORMAL.inv_cdf(p)


def normal_cdf(z: float) -> float:
    """The share that lies below ``z``."""
    return _NORMAL.cdf(z)
