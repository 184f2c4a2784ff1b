"""When a growing sample is looked at, and how much of the error may be spent at each look."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["EARLY", "Look", "looks"]

EARLY = 0.2  # of alpha may be spent on stopping early; the rest is for the whole sample
_FIRST = 25  # records: fewer decide nothing that is worth a look
_SPENDING = 3  # early looks of a statistic for which no method is valid at any time


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The sample at ``n`` of ``planned`` records. ``spends``: one of the few early looks that statistics without a method
    that is valid at any time take part in."""

    n: int
    planned: int
    spends: bool

    @property
    def last(self) -> bool:
        return self.n >= self.planned

    def early(self, alpha: float) -> float:
        """What a method that is valid at any time works with before the last look."""
        return EARLY * alpha

    def final(self, alpha: float) -> float:
        """What is left for the last look."""
        return (1 - EARLY) * alpha

    def spent(self, alpha: float) -> float | None:
        """What an interval that is valid at one size only may use at this look; None: not looked at. The union bound
        over the looks keeps the sum at ``alpha`` (alpha spending: Lan and DeMets, Biometrika 70, 1983)."""
        if self.last:
            return self.final(alpha)
        return self.early(alpha) / _SPENDING if self.spends else None


def looks(planned: int) -> list[Look]:
    """From 25 records on by a factor of the square root of two, so that the last one is all of them. The spending looks
    are at an eighth, a quarter and half of them."""
    found: list[Look] = []
    step = 0
    while True:
        n = math.ceil(planned / math.sqrt(2) ** step)
        if step and n < _FIRST:
            break
        found.append(Look(n=n, planned=planned, spends=step in {2, 4, 6}))
        step += 1
    return found[::-1]
