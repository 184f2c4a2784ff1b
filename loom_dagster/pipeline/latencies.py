"""Percentiles of any number of latencies in a few kilobytes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

__all__ = ["Latencies"]

_GROWTH = math.log(1.01)  # each bucket is one percent wider than the one before


class Latencies:
    """Counts by logarithmic bucket: a percentile is off by half a percent at most, and never
    outside of what was measured. (DDSketch: Masson, Rim and Lee, VLDB 2019.)"""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._low, self._high = math.inf, 0.0

    def add(self, seconds: float) -> None:
        """One more; what is below a microsecond counts as one."""
        seconds = max(seconds, 1e-6)
        self._low, self._high = min(self._low, seconds), max(self._high, seconds)
        self._counts[math.ceil(math.log(seconds) / _GROWTH)] += 1

    def counted(self) -> tuple[dict[int, int], float, float]:
        """Buckets, lowest and highest, for ``merge`` of another one."""
        return dict(self._counts), self._low, self._high

    def merge(self, counted: tuple[Mapping[int, int], float, float]) -> None:
        """What another one has ``counted``, too."""
        buckets, low, high = counted
        self._counts.update(buckets)
        self._low, self._high = min(self._low, low), max(self._high, high)

    def percentile(self, share: float) -> float | None:
        """The nearest rank, in seconds; None when there is none."""
        rank = math.ceil(share * self._counts.total())
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                middle = math.exp((bucket - 0.5) * _GROWTH)
                return min(max(middle, self._low), self._high)
        return None
