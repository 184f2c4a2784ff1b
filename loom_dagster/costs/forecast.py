"""What a run will cost, whole: the estimate of its model, of others, and what is left of the budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loom_dagster.costs.estimate import Estimate

__all__ = ["BudgetForecast", "Forecast"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetForecast:
    """One budget, in USD. ``used``: spent, unconfirmed or in flight before the run; ``after``: with the run, and
    ``after_high`` at the upper bound."""

    name: str
    limit: float
    used: float
    after: float
    after_high: float
    stops: bool = True

    @property
    def utilisation(self) -> float:
        """Share of the budget that is used after the run."""
        return self.after / self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """``records`` that the next run reads, of which ``sampled`` were counted; ``rejected`` rows cost nothing.
    ``tokens``: of an average prompt. ``partitions``: those it was made for."""

    pipeline: str
    version: str | None
    records: int
    rejected: int
    sampled: int
    tokens: float
    estimate: Estimate
    others: Sequence[Estimate] = ()
    budgets: Sequence[BudgetForecast] = ()
    partitions: Sequence[str] = ()
    notes: Sequence[str] = ()
