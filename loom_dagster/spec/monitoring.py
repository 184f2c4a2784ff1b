"""The ``monitoring`` block: what may be spent, what is watched over, who is told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from loom_dagster.spec.blocks import Block, Names, Positive, Share, Text
from loom_dagster.spec.spellings import budget_as_mapping

__all__ = ["Alert", "BudgetSpec", "LatencySla", "Monitoring", "QualityThreshold"]


class LatencySla(Block):
    p50: Positive | None = None
    p95: Positive | None = None
    p99: Positive | None = None


class QualityThreshold(Block):
    min_score: Share


class Alert(Block):
    """Who is told when something goes wrong. ``type``: quality_gate, run_failed, run_deferred, load_failed, a monitor's or
    an evaluator's name, or any. ``threshold`` is a monitor's own. ``channel``: of ``[tool.loom.channels]``, one or several."""

    type: str
    threshold: Text | None = None
    channel: Names = Field(min_length=1, validation_alias=AliasChoices("channel", "channels"))


class BudgetSpec(Block):
    """The most that may be spent, in USD: by one run, and by the pipeline in a day (UTC)."""

    run: Positive | None = None
    day: Positive | None = None


class Monitoring(Block):
    """``on_budget: warn`` only says so when more was spent than ``cost_budget``."""

    cost_budget: Annotated[
        BudgetSpec, BeforeValidator(budget_as_mapping, json_schema_input_type=BudgetSpec | float)
    ] = BudgetSpec()
    on_budget: Literal["stop", "warn"] = "stop"
    latency_sla: LatencySla | None = None
    quality_threshold: QualityThreshold | None = None
    alerts: tuple[Alert, ...] = ()

    @model_validator(mode="after")
    def _warns_of_a_run(self) -> Monitoring:
        if self.on_budget == "warn" and self.cost_budget.day is not None:
            raise ValueError("`on_budget: warn` looks at what a run costs; remove `cost_budget.day`")
        return self
