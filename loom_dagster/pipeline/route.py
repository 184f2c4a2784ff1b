"""The way of one record: transform, judge, and what ``on_failure`` says when it fails.

Whatever happens, a record leaves in exactly one of three ways: passed, quarantined or deferred.
That is half of the promise of conservation; the other half is the intake's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from loom_dagster.errors import LoomError, Misconfigured, Outage, OverBudget, Permanent, Waits
from loom_dagster.evaluate import Case, Evaluation
from loom_dagster.records import Answer, Passed, Quarantined, Record, Stage
from loom_dagster.transform import Transformed

__all__ = ["Deferred", "Fate", "Judges", "OnFailure", "Route", "Transforms", "deferred"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """A record that was not settled; the next run takes it up."""

    id: str
    position: int
    reason: str


Fate = Passed | Quarantined | Deferred

# Asking again can help when the model answered badly; not when it refused or was never asked.
_WORTH_ASKING_AGAIN = frozenset(
    {"malformed_answer", "wrong_schema", "empty_answer", "truncated", "gate_failed"}
)


class Transforms(Protocol):
    """What the route needs of transform/."""

    async def transform(
        self, record: Record, *, sample: int = 0, feedback: Sequence[str] = (), previous: str | None = None
    ) -> Transformed:
        """One record's output. Raises LoomError by class."""


class Judges(Protocol):
    """What the route needs of evaluate/."""

    async def judge(self, case: Case) -> Evaluation:
        """The scores and the gate's decision."""


@dataclass(frozen=True, kw_only=True)
class OnFailure:
    """``policy``: quarantine, skip, retry (``retries`` times) or fallback: to ``model`` (judged
    again) or to ``values`` (a function from source columns to an output that fits the schema)."""

    policy: str = "quarantine"
    retries: int = 0
    model: Transforms | None = None
    values: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None


@dataclass(kw_only=True)
class Route:
    """Settles records one by one. ``samples`` holds, for records that are tried again, how many
    answers were had before. ``stopped_by`` is set by the first error that stops the run, ``over_budget`` by
    the last one for which there was no money: records whose answers are in the store go on. ``waits`` counts the
    records whose answers come with a batch."""

    transform: Transforms
    judges: Judges
    on_failure: OnFailure = OnFailure()
    samples: Mapping[str, int] = field(default_factory=dict)
    stopped_by: Misconfigured | None = None
    over_budget: OverBudget | None = None
    waits: int = 0

    async def settle(self, record: Record) -> Fate:
        """The fate of ``record``. Never raises for anything that is about the record."""
        if self.stopped_by is not None:
            return deferred(record, self.stopped_by)
        try:
            return await self._settle(record)
        except Outage as error:
            if isinstance(error, OverBudget):
                self.over_budget = error
            self.waits += isinstance(error, Waits)
            return deferred(record, error)
        except Misconfigured as error:
            if self.stopped_by is None:
                self.stopped_by = error
            return deferred(record, error)

    async def _settle(self, record: Record) -> Fate:
        before = self.samples.get(record.id, 0)
        fate = await self._attempt(self.transform, record, sample=before)
        if isinstance(fate, Passed):
            return fate
        policy = self.on_failure
        if policy.policy == "retry":
            for again in range(1, policy.retries + 1):
                if fate.kind not in _WORTH_ASKING_AGAIN:
                    break
                earlier = fate.answers
                fate = await self._attempt(
                    self.transform,
                    record,
                    sample=before + again,
                    feedback=_feedback(fate),
                    previous=fate.raw_answer,
                )
                fate = replace(fate, answers=(*earlier, *fate.answers))
                if isinstance(fate, Passed):
                    return fate
            return fate
        if policy.policy == "fallback":
            return await self._fall_back(record, fate)
        return replace(fate, resolution="skipped") if policy.policy == "skip" else fate

    async def _fall_back(self, record: Record, failed: Quarantined) -> Fate:
        policy = self.on_failure
        if policy.model is not None:
            second = await self._attempt(policy.model, record, sample=self.samples.get(record.id, 0))
            answers = (*failed.answers, *second.answers)
            if isinstance(second, Passed):
                return replace(second, answers=answers, attempts=failed.attempts + 1, fallback="model")
            reason = f"{failed.reason}; then the fallback model: {second.reason}"
            return replace(second, reason=reason, answers=answers, attempts=failed.attempts + 1)
        if policy.values is None:
            return failed
        try:
            output = policy.values(record.columns)
        except Permanent as error:
            return replace(failed, reason=f"{failed.reason}; then the fallback values: {error.sentence()}")
        return Passed(
            record=record,
            output=output,
            scores=(),
            answers=failed.answers,
            model="fallback",
            attempts=failed.attempts,
            fallback="value",
        )

    async def _attempt(
        self,
        transform: Transforms,
        record: Record,
        *,
        sample: int,
        feedback: Sequence[str] = (),
        previous: str | None = None,
    ) -> Passed | Quarantined:
        attempts = sample + 1
        try:
            made = await transform.transform(record, sample=sample, feedback=feedback, previous=previous)
        except (Outage, Misconfigured):
            raise
        except Exception as error:  # noqa: BLE001 - a record is never lost, whatever went wrong with it
            return _failed(record, Stage.TRANSFORM, error, attempts=attempts)
        try:
            evaluation = await self.judges.judge(
                Case(record=record, output=made.output, rendered_input=made.rendered_input, sample=sample)
            )
        except (Outage, Misconfigured):
            raise
        except Exception as error:  # noqa: BLE001 - likewise
            failed = _failed(record, Stage.EVALUATE, error, attempts=attempts)
            return replace(
                failed, output=made.output, raw_answer=made.raw, model=made.model, answers=made.answers
            )
        decision, answers = evaluation.decision, (*made.answers, *evaluation.answers)
        if decision.passed:
            return Passed(
                record=record,
                output=made.output,
                scores=decision.scores,
                answers=answers,
                model=made.model,
                attempts=attempts,
            )
        return Quarantined(
            id=record.id,
            position=record.position,
            stage=Stage.EVALUATE,
            reason=decision.reason,
            kind="gate_failed",
            source=record.columns,
            scores=decision.scores,
            output=made.output,
            raw_answer=made.raw,
            model=made.model,
            answers=answers,
            attempts=attempts,
        )


def _failed(record: Record, stage: Stage, error: Exception, *, attempts: int) -> Quarantined:
    known = isinstance(error, LoomError)
    answers: tuple[Answer, ...] = getattr(error, "answers", ())
    return Quarantined(
        id=record.id,
        position=record.position,
        stage=stage,
        reason=error.sentence()
        if isinstance(error, LoomError)
        else f"unexpected {type(error).__name__}: {error}",
        kind=error.kind if isinstance(error, LoomError) else "unexpected",
        source=record.columns,
        raw_answer=error.raw if isinstance(error, Permanent) else None,
        model=answers[-1].model if known and answers else None,
        answers=answers,
        attempts=attempts,
    )


def _feedback(failed: Quarantined) -> tuple[str, ...]:
    """The failed evaluators' explanations, or what was wrong with the answer itself."""
    said = tuple(
        f"{score.name}: {score.explanation}"
        for score in failed.scores
        if not score.passed and score.explanation
    )
    return said or (failed.reason,)


def deferred(record: Record, error: LoomError) -> Deferred:
    """``record`` is taken up by the next run, because of ``error``."""
    return Deferred(id=record.id, position=record.position, reason=f"{error.kind}: {error.what}")
