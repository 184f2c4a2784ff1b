"""A row of numbers as a row of small bars: what went up and down, at a glance."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["sparkline"]

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.-~=+*#"  # for terminals that write no more than ASCII
_STEP = 1e-9  # numbers that differ by less are equal


def sparkline(
    values: Sequence[float | None],
    *,
    low: float | None = None,
    high: float | None = None,
    unicode: bool = True,
) -> str:
    """A character a value, oldest first; a blank where there is none. ``low`` and ``high`` are the ends of the scale,
    by default those of the values; equal values lie in its middle."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    if not known:
        return ""
    bars = _BARS if unicode else _PLAIN
    bottom = min(known) if low is None else low
    top = max(known) if high is None else high
    return "".join(_bar(v, bottom, top, bars) for v in values)


def _bar(value: float | None, bottom: float, top: float, bars: str) -> str:
    if value is None or not math.isfinite(value):
        return " "
    if top - bottom < _STEP * max(abs(top), 1.0):
        return bars[len(bars) // 2]
    share = (value - bottom) / (top - bottom)
    return bars[min(max(int(share * len(bars)), 0), len(bars) - 1)]
