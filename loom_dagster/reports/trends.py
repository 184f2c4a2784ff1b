"""The numbers of runs that follow each other, one series a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from loom_dagster.ledger import RunNumbers
from loom_dagster.records import dollars, seconds, share

__all__ = [
    "EvaluatorTrend",
    "Kind",
    "Trend",
    "evaluator_trends",
    "figure",
    "pass_rate_of",
    "run_trends",
    "whole",
]

Kind = Literal["share", "score", "usd", "seconds", "count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One number of several runs, oldest first; None where a run does not have it."""

    name: str
    kind: Kind
    values: Sequence[float | None]

    @property
    def last(self) -> float | None:
        """The newest that is known."""
        return next((v for v in reversed(self.values) if v is not None), None)

    @property
    def first(self) -> float | None:
        return next((v for v in self.values if v is not None), None)

    @property
    def mean(self) -> float | None:
        known = [v for v in self.values if v is not None]
        return sum(known) / len(known) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorTrend:
    """An evaluator over several runs: its mean score, and the share of records that reached its threshold."""

    name: str
    type: str
    threshold: float
    means: Trend
    pass_rates: Trend


def whole(runs: Sequence[RunNumbers]) -> list[RunNumbers]:
    """Those that read their source: the scores of one that tried records of the quarantine again are of those only."""
    return [run for run in runs if not run.metrics.get("tried_again")]


def run_trends(runs: Sequence[RunNumbers]) -> list[Trend]:
    """Of ``runs``, newest first as the ledger gives them. Those of which no run knows anything are left out."""
    found = [
        _trend(runs, "pass rate", "share", pass_rate_of),
        _trend(runs, "records", "count", lambda r: r.metrics.get("extracted")),
        _trend(runs, "cost", "usd", lambda r: r.metrics.get("cost")),
        _trend(runs, "cost per record", "usd", _cost_per_record),
        *(
            _trend(runs, f"latency {p}", "seconds", lambda r, p=p: r.metrics.get(f"latency_{p}"))  # type: ignore[misc]
            for p in ("p50", "p95", "p99")
        ),
        _trend(runs, "tokens in", "count", lambda r: r.metrics.get("input_tokens")),
        _trend(runs, "tokens out", "count", lambda r: r.metrics.get("output_tokens")),
    ]
    return [trend for trend in found if trend.last is not None]


def evaluator_trends(runs: Sequence[RunNumbers]) -> list[EvaluatorTrend]:
    """Of every evaluator that one of ``runs`` (newest first) asked, in the newest one's order."""
    names = dict.fromkeys(score["name"] for run in runs for score in run.scores)
    return [_evaluator(runs, name) for name in names]


def _evaluator(runs: Sequence[RunNumbers], name: str) -> EvaluatorTrend:
    scores = [next((s for s in run.scores if s["name"] == name), None) for run in reversed(runs)]
    newest = next(score for score in reversed(scores) if score is not None)
    rates = []
    for score in scores:
        asked = 0 if score is None else score["passed"] + score["failed"] + score["errors"]
        rates.append(score["passed"] / asked if score is not None and asked else None)
    return EvaluatorTrend(
        name=name,
        type=newest["type"],
        threshold=newest["threshold"],
        means=Trend(name=name, kind="score", values=[None if s is None else s["mean"] for s in scores]),
        pass_rates=Trend(name=name, kind="share", values=rates),
    )


def pass_rate_of(run: RunNumbers) -> float | None:
    """As its batch was judged; of a run without a batch as far as it came."""
    return run.pass_rate if run.pass_rate is not None else run.metrics.get("pass_rate")


def _cost_per_record(run: RunNumbers) -> float | None:
    """Of records of which every answer was paid for in this run: those from the store make no record cheaper."""
    paid = run.metrics.get("paid_records", 0.0)
    return run.metrics.get("paid_cost", 0.0) / paid if paid else None


def _trend(
    runs: Sequence[RunNumbers], name: str, kind: Kind, of: Callable[[RunNumbers], float | None]
) -> Trend:
    return Trend(name=name, kind=kind, values=[of(run) for run in reversed(runs)])


def figure(value: float | None, kind: Kind) -> str:
    """``98.5%``, ``0.87``, ``$0.0042``, ``1.2s``, ``1,200``; ``-`` when it is not known."""
    if value is None:
        return "-"
    match kind:
        case "share":
            return share(value, 1.0)
        case "score":
            return f"{value:.2f}"
        case "usd":
            return dollars(value)
        case "seconds":
            return seconds(value)
        case "count":
            return f"{value:,.0f}"
