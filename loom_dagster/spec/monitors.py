"""The monitors as users write them: one block each, with a short form (``rejection_rate: 0.2``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from loom_dagster.spec.blocks import Block, Count, Name, Positive, Share
from loom_dagster.spec.scalars import resolve

__all__ = [
    "SHORT_FORMS",
    "CostSpike",
    "EmptyInput",
    "LatencySla",
    "Monitor",
    "QualityThreshold",
    "RejectionRate",
    "ScoreDegradation",
    "Severity",
    "short",
]

Severity = Literal["warn", "error"]

SHORT_FORMS: Mapping[str, str] = {
    "latency_sla": "p95",
    "quality_threshold": "min_score",
    "score_degradation": "min_score",
    "cost_spike": "times",
    "rejection_rate": "max_rate",
}
"""What a bare value of a monitor sets, and so does the ``threshold`` of an alert that names it."""

_TIMES = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*x?\s*$", re.IGNORECASE)


class Monitor(Block):
    """What every monitor has. One that fails with ``severity: warn`` is shown, with ``error`` the run also exits with 1;
    neither changes what is released. A ``blocking`` one holds the batch, and is an error."""

    severity: Severity | None = None
    blocking: bool = False

    @model_validator(mode="after")
    def _blocks_as_an_error(self) -> Monitor:
        if self.blocking and self.severity == "warn":
            raise ValueError("a monitor that blocks is an error; remove `severity: warn` or `blocking: true`")
        return self

    @property
    def level(self) -> Severity:
        """The severity as it is: of a monitor that blocks ``error``, else ``warn`` unless it is said."""
        return self.severity or ("error" if self.blocking else "warn")


class LatencySla(Monitor):
    """The most seconds that paid calls of the transform may take, by percentile. Short form: ``p95``."""

    p50: Positive | None = None
    p95: Positive | None = None
    p99: Positive | None = None

    @model_validator(mode="after")
    def _has_one(self) -> LatencySla:
        if not self.limits:
            raise ValueError("name at least one of p50, p95 and p99: {p95: 5.0}")
        return self

    @property
    def limits(self) -> dict[str, float]:
        """In seconds, those that are set."""
        every = {"p50": self.p50, "p95": self.p95, "p99": self.p99}
        return {name: limit for name, limit in every.items() if limit is not None}


class QualityThreshold(Monitor):
    """The least mean score of each evaluator, or of one. Short form: ``min_score``."""

    min_score: Share
    evaluator: Name | None = None


class ScoreDegradation(Monitor):
    """Whether the mean score of an evaluator (default: of any) is lower than in earlier runs by more than chance explains
    and by at least ``min_drop``, or lower than ``min_score``. Runs of fewer than ``min_records`` scores are not
    compared. Short form: ``true``, or ``min_score``."""

    min_score: Share | None = None
    min_drop: Annotated[float, Field(gt=0.0, le=1.0)] = 0.02
    min_records: Count = 10
    evaluator: Name | None = None


def _times(value: Any) -> Any:
    match = _TIMES.match(value) if isinstance(value, str) else None
    if isinstance(value, str) and match is None:
        raise ValueError(f"`{value}` is not a multiple; write 2x")
    return value if match is None else float(match[1])


class CostSpike(Monitor):
    """The most that a record may cost, as a multiple of what it cost in earlier runs. Runs that paid for fewer than
    ``min_records`` are not compared. Short form: ``true``, or ``times``."""

    times: Annotated[
        float,
        BeforeValidator(_times, json_schema_input_type=float | str),
        Field(gt=1.0, allow_inf_nan=False),
    ] = 2.0
    min_records: Count = 10


class RejectionRate(Monitor):
    """The largest share of the records that may end in quarantine. Short form: ``max_rate``."""

    max_rate: Share


class EmptyInput(Monitor):
    """Fails when nothing was extracted. Short form: ``true``."""


def short(name: str) -> Callable[[Any], Any]:
    """The short form of a monitor as a mapping: ``false`` is as if it were not there."""
    key = SHORT_FORMS.get(name)

    def as_mapping(value: Any) -> Any:
        if value is None:
            raise ValueError("it is empty; give it a value or remove the line")
        plain = resolve(value) if isinstance(value, str) else value
        if plain is False:
            return None
        if plain is True:
            return {}
        return {key: value} if key is not None and isinstance(value, str | int | float) else value

    return as_mapping
