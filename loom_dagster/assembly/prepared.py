"""A pipeline as far as it could be put together, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loom_dagster.assembly.increments import Start
from loom_dagster.assembly.models import Models
from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.execution import Execution
from loom_dagster.extract import Redactor, Source
from loom_dagster.gateway import Model, PriceBook
from loom_dagster.ledger import Budgets
from loom_dagster.prompts import Prompt
from loom_dagster.records import digest
from loom_dagster.settings import RunOptions, Settings
from loom_dagster.spec import PipelineFile, execution_of
from loom_dagster.spec.models import BudgetSpec, Fallback, FieldSpec, JudgedSpec, Pipeline
from loom_dagster.transform import OutputSchema

__all__ = ["Prepared"]


@dataclass(kw_only=True)
class Prepared:
    """A pipeline as far as it could be put together. ``problems`` in the order they were found;
    what could not be built for one of them is None. ``partition``: the one that is read, where there are any."""

    file: PipelineFile
    settings: Settings
    options: RunOptions
    prices: PriceBook
    problems: list[Problem] = field(default_factory=list)
    prompt: Prompt | None = None
    fields: Mapping[str, FieldSpec] | None = None
    schema: OutputSchema | None = None
    source: Source | None = None
    redactor: Redactor | None = None
    models: Models | None = None
    model: Model | None = None
    start: Start = field(default_factory=Start)
    partition: str = ""
    now: datetime | None = None

    @property
    def spec(self) -> Pipeline:
        return self.file.spec

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.problems if p.level == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.problems if p.level == "warning")

    @property
    def execution(self) -> Execution:
        """Where its records are settled."""
        return execution_of(self.spec.execution, self.settings.execution)

    @property
    def budgets(self) -> Budgets:
        """What must not be spent beyond."""
        spec = self.spec.monitoring
        own = spec.cost_budget if spec.on_budget == "stop" else BudgetSpec()
        return Budgets(run=own.run, day=own.day, month=self.settings.monthly_budget)

    @property
    def warn_above(self) -> float | None:
        """USD a run may cost before it says so and goes on."""
        spec = self.spec.monitoring
        return spec.cost_budget.run if spec.on_budget == "warn" else None

    def require(self) -> None:
        """Raises Misconfigured, with every problem, unless the pipeline can run."""
        if self.errors:
            n = len(self.errors)
            raise Misconfigured(
                f"pipeline `{self.spec.name}` cannot run: {n} problem{'s' if n > 1 else ''}",
                problems=tuple(self.problems),
            )

    def fingerprint(self) -> str:
        """Hex over everything that determines answers: not gates, limits, or where they are loaded."""
        spec, prompt, models = self.spec, self.prompt, self.models
        if prompt is None or models is None or self.model is None:
            raise Misconfigured(f"pipeline `{spec.name}` has problems", problems=tuple(self.problems))
        second = models.second(self.fields)
        judges = [
            [
                e.model_dump(mode="json", by_alias=True, exclude={"threshold", "weight"}),
                models.judge(e.model).identity if isinstance(e, JudgedSpec) else None,
            ]
            for e in spec.evaluate.evaluators
        ]
        return digest(
            "fingerprint:1",
            [prompt.digest, prompt.context_digest],
            [self.model.identity, [m.identity for m in self.model.fallbacks]],
            None if self.schema is None else self.schema.body,
            judges,
            [spec.extract.source, spec.extract.key, spec.load.on_failure, spec.load.retries],
            [second.identity if second else None, _unasked(spec.load.fallback)],
            # trials of all partitions are one slot: one does not go on with another's run
            [
                self.options.limit,
                dict(self.options.params),
                *([self.partition] if self.options.trial and self.partition else []),
            ],
            *([[spec.extract.redact, self.redactor.identity]] if self.redactor else []),
        ).hex()


def _unasked(fallback: Fallback | None) -> Any:
    """What a fallback without a model gives."""
    if fallback is None or fallback.summary is None:
        return fallback and fallback.values
    return {"summary": fallback.summary.model_dump(mode="json")}
