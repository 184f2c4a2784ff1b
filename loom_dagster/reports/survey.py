"""What is seen in the tables of a run when they are read once, row by row, in bounded memory."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from loom_dagster.pipeline.latencies import Latencies
from loom_dagster.reports.clusters import Clusters
from loom_dagster.reports.confusion import Confusion

__all__ = ["BINS", "Judged", "Survey", "WorstRecord"]

BINS = 20
_WORST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstRecord:
    """A judged record and its scores by evaluator, None for one that could not be had. ``row`` is its place in the table
    of those that passed; of one that did not, source and output are with it."""

    record_id: str
    passed: bool
    scores: Mapping[str, float | None]
    reason: str = ""
    explanations: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None
    row: int | None = None

    @property
    def mean(self) -> float:
        """A score that could not be had counts as 0, as the gate has it."""
        return sum(value or 0.0 for value in self.scores.values()) / len(self.scores)


@dataclass(slots=True)
class Judged:
    """One evaluator over the records: bins over 0..1, how many were below its threshold, and what could not be scored."""

    threshold: float
    bins: list[int] = field(default_factory=lambda: [0] * BINS)
    n: int = 0
    failed: int = 0
    missing: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float | None) -> None:
        if value is None or not math.isfinite(value):
            self.missing += 1
            return
        self.n += 1
        self.failed += value < self.threshold
        self.total += value
        self.squares += value * value
        self.bins[min(max(int(value * BINS), 0), BINS - 1)] += 1

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None

    @property
    def std(self) -> float:
        """Divides by n. Scores lie in 0..1, so their squares add up well enough."""
        return math.sqrt(max(self.squares / self.n - (self.total / self.n) ** 2, 0.0)) if self.n else 0.0


@dataclass(slots=True)
class ModelUse:
    """Of the records that one model answered. ``cost`` in USD and ``latencies`` of all their answers, judges' too, as
    paid and waited at the time. ``unpriced``: records that cost nobody knows how much."""

    records: int = 0
    cost: float = 0.0
    unpriced: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    def add(self, cost: float | None, latency: float | None) -> None:
        self.records += 1
        if cost is None:
            self.unpriced += 1
        else:
            self.cost += cost
        if latency is not None:
            self.latencies.add(latency)


class Survey:
    """Fed with the rows of both tables."""

    def __init__(self, thresholds: Mapping[str, float], confusions: Sequence[Confusion]) -> None:
        """``thresholds`` by evaluator."""
        self.judged = {name: Judged(threshold) for name, threshold in thresholds.items()}
        self.confusions, self.clusters = confusions, Clusters()
        self.models: dict[str, ModelUse] = {}
        self._worst: list[tuple[float, int, WorstRecord]] = []
        self._ties = itertools.count()

    def passed(
        self, row: int, record_id: str, scores: Mapping[str, float | None], values: Mapping[str, Any]
    ) -> None:
        """A record that passed. ``values``: its fields that are compared with a reference, the references, and
        ``_loom_model``, ``_loom_cost_usd`` and ``_loom_latency_s``."""
        self._use(values.get("_loom_model"), values.get("_loom_cost_usd"), values.get("_loom_latency_s"))
        for confusion in self.confusions:
            confusion.add(values.get(confusion.reference), values.get(confusion.field))
        for name, value in scores.items():
            self.judged[name].add(value)
        if scores:
            self._rank(WorstRecord(record_id=record_id, passed=True, scores=scores, row=row))

    def rejected(self, row: Mapping[str, Any]) -> None:
        """A row of the quarantine."""
        scores: list[dict[str, Any]] = orjson.loads(row["scores"]) if row["scores"] else []
        failed = [score for score in scores if not score["passed"]]
        cause, text = str(row["kind"]), str(row["reason"])
        if cause == "gate_failed" and failed:
            cause = ", ".join(s["name"] + ("" if s["value"] is not None else " (no score)") for s in failed)
            text = next((t for s in failed if (t := s["error"] or s["explanation"])), text)
        self.clusters.add(row["record_id"], row["stage"], cause, text)
        if row["model"] is not None:
            self._use(row["model"], row["cost_usd"], None)
        if row["stage"] == "evaluate":
            self._judge(row, scores)

    def worst(self) -> list[WorstRecord]:
        """The records with the lowest scores, the lowest first."""
        return [record for _, _, record in sorted(self._worst, key=lambda item: (-item[0], -item[1]))]

    def _judge(self, row: Mapping[str, Any], scores: Sequence[Mapping[str, Any]]) -> None:
        source = orjson.loads(row["source"]) if row["source"] else {}
        output = orjson.loads(row["output"]) if row["output"] else {}
        for confusion in self.confusions:
            confusion.add(source.get(confusion.reference), output.get(confusion.field))
        for score in scores:
            if score["name"] in self.judged:
                self.judged[score["name"]].add(score["value"])
        if scores:
            self._rank(
                WorstRecord(
                    record_id=row["record_id"],
                    passed=False,
                    scores={score["name"]: score["value"] for score in scores},
                    reason=row["reason"],
                    explanations={s["name"]: s["error"] or s["explanation"] or "" for s in scores},
                    source=source,
                    output=output,
                )
            )

    def _rank(self, record: WorstRecord) -> None:
        """The heap's root is the best of the worst; of equals those that came first stay, and those that did not pass."""
        item = (-(record.mean + (0.001 if record.passed else 0.0)), -next(self._ties), record)
        if len(self._worst) < _WORST:
            heapq.heappush(self._worst, item)
        elif item > self._worst[0]:
            heapq.heapreplace(self._worst, item)

    def _use(self, model: object, cost: float | None, latency: float | None) -> None:
        name = str(model)
        if name not in self.models:
            self.models[name] = ModelUse()
        self.models[name].add(cost, latency)
