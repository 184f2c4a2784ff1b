"""The numbers of one run that monitors look at: of the one that ends, and of those before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["METRICS", "Budget", "Facts", "Scores", "failed_metric"]

METRICS = (
    "extracted",
    "quarantined",
    "deferred",
    "cost",
    "unpriced",
    "paid_records",
    "paid_cost",
    "latency_p50",
    "latency_p95",
    "latency_p99",
)
"""The names under which a run's numbers are kept."""
_FAILED = "monitor_failed/"


def failed_metric(name: str) -> str:
    """Under which it is kept that a monitor failed."""
    return _FAILED + name


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One evaluator over a run: ``n`` scores, ``errors`` that could not be had. ``std`` divides by n."""

    type: str
    n: int
    errors: int
    mean: float | None
    std: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How far a budget is used, in USD, at the worst case."""

    name: str
    limit: float
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One run. ``paid_records`` are those of which every answer was paid for in it, for ``paid_cost`` USD; answers from
    the store make no record cheaper. ``scores`` by evaluator; ``failed``: monitors that it did not pass; ``data_version``: equal for runs that
    gave the same records the same answers."""

    extracted: int = 0
    quarantined: int = 0
    deferred: int = 0
    cost: float = 0.0
    unpriced: int = 0
    paid_records: int = 0
    paid_cost: float = 0.0
    latencies: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, Scores] = field(default_factory=dict)
    budgets: Sequence[Budget] = ()
    used_up: str | None = None
    failed: frozenset[str] = frozenset()
    data_version: str | None = None

    @classmethod
    def of(
        cls,
        metrics: Mapping[str, float],
        scores: Iterable[Mapping[str, Any]],
        *,
        budgets: Sequence[Budget] = (),
        used_up: str | None = None,
        data_version: str | None = None,
    ) -> Facts:
        """From what is kept of a run. ``used_up``: the budget that stopped it."""
        number = {name: metrics.get(name, 0.0) for name in METRICS}
        return cls(
            extracted=int(number["extracted"]),
            quarantined=int(number["quarantined"]),
            deferred=int(number["deferred"]),
            cost=number["cost"],
            unpriced=int(number["unpriced"]),
            paid_records=int(number["paid_records"]),
            paid_cost=number["paid_cost"],
            latencies={
                p: metrics[f"latency_{p}"] for p in ("p50", "p95", "p99") if f"latency_{p}" in metrics
            },
            scores={
                s["name"]: Scores(
                    type=s["type"],
                    n=s["passed"] + s["failed"],
                    errors=s["errors"],
                    mean=s["mean"],
                    std=s["std"],
                )
                for s in scores
            },
            budgets=budgets,
            used_up=used_up,
            data_version=data_version,
            failed=frozenset(n.removeprefix(_FAILED) for n in metrics if n.startswith(_FAILED)),
        )
