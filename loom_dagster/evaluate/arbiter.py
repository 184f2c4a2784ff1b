"""Arbiter's evaluators, one instance per configured evaluator, each with its name and threshold.

Arbiter scores, we decide: its own threshold, ``passed`` and aggregation are never used.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from loom_dagster.errors import LoomError, Misconfigured, Outage
from loom_dagster.evaluate.arbiter_import import ArbiterImport
from loom_dagster.evaluate.case import Case, Unjudgeable, as_text, judged_text, reference
from loom_dagster.evaluate.judge_agent import CALL, Call, JudgeClient, Terms
from loom_dagster.evaluate.judgements import Judgement, Judgements, judgement_key
from loom_dagster.gateway.question import Asks, Model
from loom_dagster.records import Answer, Score
from loom_dagster.spec.models import Groundedness, JudgedSpec, Relevance

__all__ = ["Arbiter", "reference_column"]

_CLASSES = {
    "semantic": "SemanticEvaluator",
    "custom_criteria": "CustomCriteriaEvaluator",
    "factuality": "FactualityEvaluator",
    "groundedness": "GroundednessEvaluator",
    "relevance": "RelevanceEvaluator",
}


class Arbiter:
    """An evaluator of Arbiter with ``model`` as the judge, asked through ``ask``."""

    waits = True

    def __init__(
        self,
        spec: JudgedSpec,
        kind: str,
        *,
        ask: Asks,
        model: Model,
        terms: Terms,
        library: ArbiterImport,
        known: Judgements | None = None,
    ) -> None:
        self.spec = spec
        self._kind = kind
        self._library = library
        self._known, self._identity = known, [kind, spec.criteria, model.identity, terms.salt]
        self._column = reference_column(spec)
        self._free = kind == "semantic" and self._column is None  # without any reference
        # with a reference, these two of Arbiter's leave the criteria out
        dropped = kind == "factuality" or (kind == "semantic" and not self._free)
        self._criteria = None if dropped else spec.criteria
        focus = spec.criteria if dropped else None
        self._client = JudgeClient(name=spec.name, ask=ask, model=model, terms=terms, focus=focus)
        self._evaluator: Any = None

    async def score(self, case: Case, answers: list[Answer]) -> Score:
        """The judge's score; one without a value when it could not be had. Paid answers are
        appended to ``answers``.

        Raises Outage and Misconfigured, which are not about this output.
        """
        try:
            text = judged_text(case, self.spec.output_field, self.spec.reference_field)
            against = self._reference(case)
        except Unjudgeable as why:
            return self._score(None, error=str(why))  # nothing is spent on it
        if self._known is None:
            return await self._judged(case, text, against, answers)
        key = judgement_key(self._identity, text, against, case.sample)
        before = self._known.judgement(key)
        if before is not None:
            answers.extend(before.answers)
            return self._score(before.value, explanation=before.explanation)
        score = await self._judged(case, text, against, answers)
        if score.value is not None:
            judgement = Judgement(value=score.value, explanation=score.explanation, answers=tuple(answers))
            self._known.keep_judgement(key, judgement, of=case.record.id, purpose=f"score:{self.spec.name}")
        return score

    async def _judged(self, case: Case, text: str, against: str | None, answers: list[Answer]) -> Score:
        evaluator = await self._ready()
        token = CALL.set(Call(record_id=case.record.id, sample=case.sample, answers=answers))
        try:
            given = await evaluator.evaluate(text, against, self._criteria)
        except Exception as wrapped:  # noqa: BLE001 - a judge that fails is a score without a value
            error = wrapped.__cause__ or wrapped  # Arbiter wraps whatever went wrong
            if isinstance(error, LoomError):
                answers.extend(answer for answer in error.answers if answer not in answers)
            if isinstance(error, Outage | Misconfigured):
                raise error from None
            reason = error.sentence() if isinstance(error, LoomError) else f"{type(error).__name__}: {error}"
            return self._score(None, error=f"judge failed: {reason}")
        finally:
            CALL.reset(token)
        return self._score(given.value, explanation=given.explanation or "")

    def _reference(self, case: Case) -> str | None:
        if self._column is not None:
            return as_text(reference(case, self._column))
        if self._free:
            return None
        if not case.rendered_input.strip():
            raise Unjudgeable("there is no rendered input to judge by")
        return case.rendered_input

    async def _ready(self) -> Any:
        if self._evaluator is None:
            module = await self._library.module()
            evaluator = getattr(module, _CLASSES[self._kind])(self._client)
            evaluator.interactions = deque(maxlen=0)  # it would keep every prompt of the run
            evaluator._extract_usage_and_cost = _counted_elsewhere  # noqa: SLF001
            self._evaluator = evaluator
        return self._evaluator

    def _score(self, value: float | None, *, explanation: str = "", error: str | None = None) -> Score:
        spec = self.spec
        return Score(
            name=spec.name,
            value=value,
            threshold=spec.threshold,
            weight=spec.weight,
            explanation=explanation,
            error=error,
        )


def reference_column(spec: JudgedSpec) -> str | None:
    """The source column the judge compares with; None means the rendered input (semantic: nothing)."""
    if isinstance(spec, Groundedness) and spec.sources_field is not None:
        return spec.sources_field
    if isinstance(spec, Relevance) and spec.query_field is not None:
        return spec.query_field
    return spec.reference_field


async def _counted_elsewhere(_: object) -> tuple[int, int, int, int, None]:
    """In place of Arbiter's own count, which loads litellm's price list for every evaluator."""
    return 0, 0, 0, 0, None
