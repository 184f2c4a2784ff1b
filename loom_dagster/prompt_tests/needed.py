"""About how many records a verdict would take, if what was seen is what is true."""

from __future__ import annotations

import math

from loom_dagster.prompt_tests.intervals import fraction
from loom_dagster.prompt_tests.ranges import Range

__all__ = ["needed_for", "needed_for_fraction"]

_LARGEST = 10_000_000  # records: beyond, nobody asks


def needed_for(left: Range, right: Range, n: int) -> int | None:
    """``n`` were seen. Intervals shrink by the root of their number until they no longer overlap. None: no number would
    do, as far as one can tell."""
    gap = abs(left.value - right.value)
    if left.value > right.value:
        wide = (left.value - left.low) + (right.high - right.value)
    else:
        wide = (left.high - left.value) + (right.value - right.low)
    if gap == 0 or not math.isfinite(wide / gap):
        return None
    return _rounded(max(n * (wide / gap) ** 2, n + 1))


def needed_for_fraction(share: float, bound: float, alpha: float) -> int | None:
    """The first size at which the exact interval of such a share no longer holds the bound."""

    def tells(n: int) -> bool:
        low, high = fraction(round(share * n), n, alpha)
        return low > bound or high < bound

    n = 8
    while not tells(n):
        n *= 2
        if n > _LARGEST:
            return None
    low = n // 2
    while n - low > max(1, n // 64):
        middle = (low + n) // 2
        low, n = (low, middle) if tells(middle) else (middle, n)
    return _rounded(n)


def _rounded(n: float) -> int | None:
    """Up, to two digits that say something."""
    if n > _LARGEST:
        return None
    unit = int(10 ** max(len(str(math.ceil(n))) - 2, 0))
    return math.ceil(n / unit) * unit
