"""Whether two runs differ by more than chance makes runs differ.

Shares: Newcombe's interval for the difference of two proportions (Statistics in Medicine 17, 1998, method 10: two
Wilson intervals). Means: Welch's t interval (Biometrika 34, 1947). Both take the records of the two runs as independent
draws; where they are the same records, the true interval is narrower, and what is said here errs on the side of chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from loom_dagster.monitors.student import t_quantile

__all__ = ["Difference", "of_means", "of_shares"]

_Z = NormalDist().inv_cdf(0.975)
_NORMAL_FROM = 200  # degrees of freedom; t is z there, to two digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The value of one run less that of the other, and the 95% interval around it."""

    value: float
    low: float
    high: float

    @property
    def real(self) -> bool:
        """Whether chance alone would seldom make it."""
        return self.low > 0 or self.high < 0


def of_shares(part: int, whole: int, other_part: int, other_whole: int) -> Difference | None:
    """None when there is nothing to compare."""
    if min(whole, other_whole) < 1:
        return None
    share, other = part / whole, other_part / other_whole
    low, high = _wilson(part, whole)
    other_low, other_high = _wilson(other_part, other_whole)
    value = share - other
    return Difference(
        value=value,
        low=value - math.hypot(share - low, other_high - other),
        high=value + math.hypot(high - share, other - other_low),
    )


def of_means(
    mean: float, std: float, n: int, other_mean: float, other_std: float, other_n: int
) -> Difference | None:
    """``std`` divides by n, as it is kept. None when a run has too few scores to know how they scatter."""
    if min(n, other_n) < 2:
        return None
    a, b = std**2 / (n - 1), other_std**2 / (other_n - 1)  # of the means
    value = mean - other_mean
    if a + b == 0:
        return Difference(value=value, low=value, high=value)
    df = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (other_n - 1))
    t = _Z if df >= _NORMAL_FROM else t_quantile(0.975, max(int(df), 1))
    reach = t * math.sqrt(a + b)
    return Difference(value=value, low=value - reach, high=value + reach)


def _wilson(part: int, whole: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion."""
    share, z2 = part / whole, _Z**2
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    reach = _Z / (1 + z2 / whole) * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole**2))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)
