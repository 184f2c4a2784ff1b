"""The ``monitoring`` block: what may be spent, what is watched over, who is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from loom_dagster.channels import MONITORS
from loom_dagster.spec.blocks import Block, Names, Positive, Text
from loom_dagster.spec.monitors import (
    SHORT_FORMS,
    CostSpike,
    EmptyInput,
    LatencySla,
    Monitor,
    QualityThreshold,
    RejectionRate,
    ScoreDegradation,
    short,
)
from loom_dagster.spec.spellings import budget_as_mapping

__all__ = ["MONITORS", "Alert", "BudgetSpec", "Monitoring"]


class Alert(Block):
    """Who is told when something goes wrong. ``type``: quality_gate, run_failed, run_deferred, load_failed, a monitor's or
    an evaluator's name, or any. ``threshold`` is a monitor's own. ``channel``: of ``[tool.loom.channels]``, one or several."""

    type: str
    threshold: Text | None = None
    channel: Names = Field(min_length=1, validation_alias=AliasChoices("channel", "channels"))


class BudgetSpec(Monitor):
    """The most that may be spent, in USD: by one run, and by the pipeline in a day (UTC)."""

    run: Positive | None = None
    day: Positive | None = None


class Monitoring(Block):
    """``on_budget: warn`` only says so when more was spent than ``cost_budget``. The others are watched over when they are
    there. An alert that names one of them switches it on, with its ``threshold``."""

    cost_budget: Annotated[
        BudgetSpec, BeforeValidator(budget_as_mapping, json_schema_input_type=BudgetSpec | float)
    ] = BudgetSpec()
    on_budget: Literal["stop", "warn"] = "stop"
    latency_sla: Annotated[
        LatencySla | None,
        BeforeValidator(short("latency_sla"), json_schema_input_type=LatencySla | float | None),
    ] = None
    quality_threshold: Annotated[
        QualityThreshold | None,
        BeforeValidator(short("quality_threshold"), json_schema_input_type=QualityThreshold | float | None),
    ] = None
    score_degradation: Annotated[
        ScoreDegradation | None,
        BeforeValidator(
            short("score_degradation"), json_schema_input_type=ScoreDegradation | bool | float | None
        ),
    ] = None
    cost_spike: Annotated[
        CostSpike | None,
        BeforeValidator(short("cost_spike"), json_schema_input_type=CostSpike | bool | float | str | None),
    ] = None
    rejection_rate: Annotated[
        RejectionRate | None,
        BeforeValidator(short("rejection_rate"), json_schema_input_type=RejectionRate | float | None),
    ] = None
    empty_input: Annotated[
        EmptyInput | None,
        BeforeValidator(short("empty_input"), json_schema_input_type=EmptyInput | bool | None),
    ] = None
    alerts: tuple[Alert, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _alerts_switch_monitors_on(cls, data: Any) -> Any:
        return _with_alerts(data)

    @model_validator(mode="after")
    def _warns_of_a_run(self) -> Monitoring:
        if self.on_budget == "warn" and self.cost_budget.day is not None:
            raise ValueError("`on_budget: warn` looks at what a run costs; remove `cost_budget.day`")
        return self

    @property
    def compares(self) -> bool:
        """Whether a monitor looks at earlier runs."""
        return self.score_degradation is not None or self.cost_spike is not None

    def monitors(self) -> dict[str, Monitor]:
        """Those that are on, by name, in the order in which they are shown."""
        found: dict[str, Monitor] = {}
        for name in MONITORS:
            monitor = getattr(self, name)
            if name == "cost_budget" and self.cost_budget.run is None and self.cost_budget.day is None:
                continue
            if monitor is not None:
                found[name] = monitor
        return found


_ON_WITHOUT_A_THRESHOLD = ("score_degradation", "cost_spike", "empty_input")


def _with_alerts(data: Any) -> Any:
    """An alert of a monitor says the same as the monitor's short form."""
    alerts = data.get("alerts") if isinstance(data, Mapping) else None
    if not isinstance(alerts, list | tuple):
        return data
    merged = dict(data)
    for alert in alerts:
        if isinstance(alert, Mapping) and alert.get("type") in MONITORS:
            name = str(alert["type"])
            merged[name] = _of_alert(name, alert.get("threshold"), merged.get(name))
    return merged


def _of_alert(name: str, threshold: Any, written: Any) -> Any:
    """The monitor ``name``, of which ``written`` stands there, as an alert with ``threshold`` wants it."""
    key = SHORT_FORMS.get(name)
    if key is None and threshold is not None:
        said = "`cost_budget` itself says what may be spent" if name == "cost_budget" else "it has none"
        raise ValueError(f"an alert of `{name}` takes no `threshold`: {said}")
    known = written if written is None or name == "cost_budget" else short(name)(written)
    if known is None:
        if threshold is None and name not in _ON_WITHOUT_A_THRESHOLD:
            also = "" if key is None else ", or a `threshold`"
            raise ValueError(f"an alert of `{name}` would never come: write `{name}` as well{also}")
        known = {}
    if threshold is None or not isinstance(known, Mapping):
        return known
    if key in known and str(known[key]) != str(threshold):
        raise ValueError(
            f"`{name}` has two thresholds, {known[key]} and, in an alert, {threshold}; keep one of them"
        )
    return {**known, key: threshold}
