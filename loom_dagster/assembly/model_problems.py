"""What is wrong with a pipeline's models: no provider, no key, or no price though there is a budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from loom_dagster.assembly.prepared import Prepared
from loom_dagster.errors import Problem
from loom_dagster.gateway import Model, check_model
from loom_dagster.spec.models import BudgetSpec, JudgedSpec

__all__ = ["check_models", "models_of"]


def models_of(ready: Prepared) -> list[tuple[str, Model]]:
    """Every model the pipeline may ask, with what it is there for: the transform's, its fallbacks, the judges'."""
    models, model = ready.models, ready.model
    if models is None or model is None:
        return []
    judged = [models.judge(e.model) for e in ready.spec.evaluate.evaluators if isinstance(e, JudgedSpec)]
    second = models.second(ready.fields)
    return [
        ("transform", model),
        *(("fallback", m) for m in model.fallbacks),
        *([("load.fallback", second)] if second else []),
        *(("judge", m) for m in judged),
    ]


def check_models(ready: Prepared, environ: Mapping[str, str]) -> list[Problem]:
    """Each problem once, however many judges share a model."""
    where = ready.file.where("transform", "model")
    found: dict[str, Problem] = {}
    for _, model in models_of(ready):
        for problem in (*check_model(model, environ), *_price_problems(ready, model)):
            found.setdefault(problem.what, problem if problem.where else replace(problem, where=where))
    return list(found.values())


def _price_problems(ready: Prepared, model: Model) -> Iterator[Problem]:
    """A budget cannot be kept with a price that nobody knows: said before the first call."""
    limits, wanted = ready.budgets.limits(), ready.spec.monitoring.cost_budget
    if model.price is not None or ready.prices.price(model.name) is not None:
        return
    if not limits and wanted == BudgetSpec():
        return
    of_project = wanted == BudgetSpec()
    yield Problem(
        what=f"the price of `{model.name}` is not known, and there is a budget to keep",
        where="pyproject.toml" if of_project else ready.file.where("monitoring", "cost_budget"),
        fix=f'declare it in USD per million tokens: [tool.loom.prices] "{model.name}" = {{input = 0.15, output = 0.60}}',
        level="error" if limits else "warning",
    )
