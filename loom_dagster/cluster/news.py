"""What a worker tells between its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loom_dagster.errors import Misconfigured, OverBudget

__all__ = ["News"]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Since the last time: what was ``counted`` of calls, and ``notes``. As of now: ``settled`` are records of blocks
    that are still open, by what became of them."""

    counted: Mapping[str, Any]
    notes: Sequence[str]
    settled: Mapping[str, int]
    stopped_by: Misconfigured | None = None
    over_budget: OverBudget | None = None
