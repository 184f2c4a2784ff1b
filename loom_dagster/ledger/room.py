"""Whether a call still fits into every budget, whether it may later, and if not, how to say so."""

from __future__ import annotations

from collections.abc import Mapping

from loom_dagster.errors import OverBudget
from loom_dagster.ledger.spend import UNIT, Sums
from loom_dagster.records import dollars

__all__ = ["Room"]


class Room:
    """What is left of the budgets ``limits``, in picodollars by name, when ``ours`` is reserved by this run."""

    def __init__(self, limits: Mapping[str, int], sums: Mapping[str, Sums], *, ours: int) -> None:
        self._limits, self._sums, self._ours = limits, sums, ours

    def fits(self, amount: int) -> bool:
        """Whether ``amount`` fits now; it is taken then."""
        if self._short(amount):
            return False
        self._ours += amount
        return True

    def may_fit_later(self, amount: int) -> bool:
        """Whether calls in flight may yet turn out cheap enough: each is reserved at its worst case."""
        return bool(self._ours) or any(
            self._sums[name].elsewhere and self._sums[name].used + amount <= self._limits[name]
            for name in self._short(amount)
        )

    def refusal(self, amount: int, pipeline: str) -> OverBudget:
        """Why ``amount`` does not fit, in words."""
        name = self._short(amount)[0]
        used = self._sums[name].used
        limit, spent, worst = (dollars(value * UNIT) for value in (self._limits[name], used, amount))
        what, fix = {
            "run": (f"the budget of {limit} a run", "raise `cost_budget`, or run again with as much again"),
            "day": (
                f"the budget of {limit} a day for {pipeline}",
                "raise `cost_budget.day`, or run again after midnight UTC",
            ),
            "month": (
                f"the project's budget of {limit} a month",
                "raise `monthly_budget` in [tool.loom], or run again next month",
            ),
        }[name]
        how = "spent, or reserved for batches" if self._sums[name].ordered else "spent"
        if used == 0:
            state, why = "is too small for one call", f"which may cost up to {worst}"
            fix = "raise it, or lower `transform.max_tokens`"
        else:
            state, why = "is used up", f"{spent} is {how}, and the next call may cost up to {worst}"
        error = OverBudget(f"{what} {state}", why=why, fix=fix)
        error.budget = name
        return error

    def _short(self, amount: int) -> list[str]:
        return [
            name
            for name, limit in self._limits.items()
            if self._sums[name].used + self._sums[name].elsewhere + self._ours + amount > limit
        ]
