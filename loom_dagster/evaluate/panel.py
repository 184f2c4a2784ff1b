"""All evaluators of a pipeline and its gate: a case goes in, a decision comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loom_dagster.errors import LoomError, Misconfigured, Outage
from loom_dagster.evaluate.arbiter import Arbiter
from loom_dagster.evaluate.arbiter_import import ArbiterImport
from loom_dagster.evaluate.case import Case
from loom_dagster.evaluate.function import Function, import_function
from loom_dagster.evaluate.gate import Gate
from loom_dagster.evaluate.judge_agent import Terms
from loom_dagster.evaluate.judgements import Judgements
from loom_dagster.evaluate.local import (
    Local,
    Measure,
    contains,
    exact_match,
    json_schema,
    regex,
    similarity,
)
from loom_dagster.gateway.question import Asks, Model
from loom_dagster.records import Answer, Decision, Score
from loom_dagster.spec.models import (
    Cache,
    Contains,
    CustomCriteria,
    Evaluate,
    EvaluatorSpec,
    ExactMatch,
    Factuality,
    Groundedness,
    JsonSchema,
    Python,
    Regex,
    Relevance,
    Semantic,
    Similarity,
)

__all__ = ["Evaluation", "Evaluator", "Panel", "build_panel"]


class Evaluator(Protocol):
    """One configured evaluator. ``waits`` is true when it asks a model or runs a user's function."""

    @property
    def waits(self) -> bool:
        """Whether several of them should run at once."""

    async def score(self, case: Case, answers: list[Answer]) -> Score:
        """The score of ``case``; one without a value when it could not be had. Answers paid for are
        appended to ``answers``. Raises Outage and Misconfigured only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the panel says of one case, and the answers that were paid for it."""

    decision: Decision
    answers: tuple[Answer, ...] = ()


class Panel:
    """Judges cases. Belongs to one event loop."""

    def __init__(self, evaluators: Sequence[Evaluator], gate: Gate) -> None:
        self._evaluators = tuple(evaluators)
        self._gate = gate
        self._at_once = sum(evaluator.waits for evaluator in evaluators) > 1

    async def judge(self, case: Case) -> Evaluation:
        """The evaluation of ``case``. Raises Outage and Misconfigured, with the answers paid for."""
        paid: list[list[Answer]] = [[] for _ in self._evaluators]
        try:
            scores = await self._scores(case, paid)
        except LoomError as error:
            error.answers = tuple(answer for answers in paid for answer in answers)
            raise
        return Evaluation(
            decision=self._gate.decide(scores),
            answers=tuple(answer for answers in paid for answer in answers),
        )

    async def _scores(self, case: Case, paid: list[list[Answer]]) -> list[Score]:
        pairs = zip(self._evaluators, paid, strict=True)
        if not self._at_once:
            return [await evaluator.score(case, answers) for evaluator, answers in pairs]
        # all are waited for, also when one fails: what the others pay for is not thrown away
        calls = (evaluator.score(case, answers) for evaluator, answers in pairs)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        _raise_worst([outcome for outcome in outcomes if isinstance(outcome, BaseException)])
        return [outcome for outcome in outcomes if isinstance(outcome, Score)]


def _raise_worst(errors: list[BaseException]) -> None:
    """An interrupt before all, then what stops the run, then what defers the record."""
    for error in errors:
        if not isinstance(error, Exception):
            raise error
    for kind in (Misconfigured, Outage, Exception):
        for error in errors:
            if isinstance(error, kind):
                raise error


def build_panel(
    evaluate: Evaluate,
    *,
    ask: Asks,
    judge: Callable[[str | None], Model],
    pipeline: str,
    root: Path,
    cache: Cache | None = None,
    salt: str = "",
    asked_at: float = 0.0,
    known: Judgements | None = None,
) -> Panel:
    """The panel that ``evaluate`` describes. ``judge`` gives the model for an evaluator's own
    ``model`` (None: the pipeline's judge). Of ``cache``, ``enabled`` and ``ttl`` count. ``known`` keeps what judges said.

    Raises Misconfigured for what ``check_evaluators`` would have reported.
    """
    cache = cache or Cache()
    terms = Terms(
        pipeline=pipeline,
        salt="" if cache.enabled else salt,
        max_age=cache.ttl.total_seconds() if cache.ttl is not None else None,
        asked_at=asked_at,
    )
    library = ArbiterImport()

    def build(spec: EvaluatorSpec) -> Evaluator:
        match spec:
            case Semantic() | CustomCriteria() | Factuality() | Groundedness() | Relevance():
                model = judge(spec.model)
                return Arbiter(
                    spec, spec.type, ask=ask, model=model, terms=terms, library=library, known=known
                )
            case Python():
                return Function(spec, import_function(spec.function, root))
            case _:
                return Local(spec, _measure(spec))

    evaluators = []
    for spec in evaluate.evaluators:
        try:
            evaluators.append(build(spec))
        except ValueError as error:
            raise Misconfigured(f"evaluator `{spec.name}` cannot be built", why=str(error)) from error
    return Panel(evaluators, Gate(evaluate.quality_gate))


def _measure(spec: ExactMatch | Contains | Regex | JsonSchema | Similarity) -> Measure:
    match spec:
        case ExactMatch():
            return exact_match(spec)
        case Contains():
            return contains(spec)
        case Regex():
            return regex(spec)
        case JsonSchema():
            return json_schema(spec)
        case Similarity():
            return similarity(spec)
