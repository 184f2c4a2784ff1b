"""A pipeline that can be asked row by row, without a run: what prompt tests speak to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from loom_dagster.assembly.prepared import Prepared
from loom_dagster.errors import Misconfigured, Outage, OverBudget, Permanent, Transient
from loom_dagster.evaluate import Case, Judgements, Panel, build_panel
from loom_dagster.gateway import AnswerStore, Asks
from loom_dagster.gateway.question import Origin
from loom_dagster.prompt_tests import Observed
from loom_dagster.records import Answer, Record, Score, digest
from loom_dagster.transform import Transformer

if TYPE_CHECKING:
    from loom_dagster.ledger.answer_table import AnswerTable

__all__ = ["Asker", "Paid", "asker", "since_now"]

SALT = "~test"
"""Where a pipeline's cache is off, every run asks anew; tests ask anew when they are told to."""
_MORE = 1.5  # rows at once for each call in flight: while one is judged, another one is transformed


@dataclass(slots=True)
class Paid:
    """What the calls came to, so far. ``unpriced``: paid calls whose price is not known."""

    calls: int = 0
    reused: int = 0
    cost: float = 0.0
    unpriced: int = 0
    simulated: bool = False

    def hear(self, answer: Answer) -> None:
        """Of an answer."""
        self.simulated |= answer.simulated
        if answer.reused:
            self.reused += 1
            return
        self.calls += 1
        self.cost += answer.cost or 0.0
        self.unpriced += answer.cost is None


@dataclass(frozen=True)
class _SinceNow:
    """A store that knows only what was put into it since a moment (UNIX seconds)."""

    store: AnswerStore
    since: float

    def get(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        return self.store.get(key, not_before=max(self.since, not_before or 0.0))

    async def put(self, answer: Answer, origin: Origin) -> None:
        await self.store.put(answer, origin)


@dataclass(frozen=True)
class _FarSinceNow(_SinceNow):
    """One that is elsewhere."""

    store: AnswerTable

    async def find(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        return await self.store.find(key, not_before=max(self.since, not_before or 0.0))

    def asked(self, key: bytes) -> None:
        self.store.asked(key)


def since_now(store: AnswerStore, since: float) -> AnswerStore:
    """``store`` as it is for those who ask all anew, and store it: without what it had before ``since`` (UNIX seconds)."""
    from loom_dagster.ledger.answer_table import AnswerTable  # a database's

    return _FarSinceNow(store, since) if isinstance(store, AnswerTable) else _SinceNow(store, since)


@dataclass(slots=True, kw_only=True)
class Asker:
    """Asks a pipeline about rows: its transform and its judges, once each. What ``load.on_failure`` would do about a bad
    answer is not done: a test sees the first one. Fits ``prompt_tests.Asks``; for one event loop."""

    transformer: Transformer
    panel: Panel
    judged: bool
    room: asyncio.Semaphore = field(repr=False)

    async def ask(self, columns: Mapping[str, Any], *, sample: int = 0, name: str = "") -> Observed:
        """``name`` says what is asked about, beside the stored answer."""
        record = Record(id=name or f"test-{digest(columns).hex()[:12]}", position=0, row=0, columns=columns)
        async with self.room:
            try:
                return await self._ask(record, sample)
            except OverBudget as error:
                raise _in_words(error) from error

    async def _ask(self, record: Record, sample: int) -> Observed:
        try:
            made = await self.transformer.transform(record, sample=sample)
        except (Outage, Misconfigured):
            raise
        except (Permanent, Transient) as error:
            raw = error.raw if isinstance(error, Permanent) else None
            seen = Observed(output=None, error=error.sentence(), kind=error.kind, raw=raw)
            return _with_answers(seen, error.answers)
        case = Case(record=record, output=made.output, rendered_input=made.rendered_input, sample=sample)
        evaluation = await self.panel.judge(case)
        decision = evaluation.decision
        seen = Observed(
            output=made.output,
            scores={score.name: score.value for score in decision.scores},
            score=_mean(decision.scores) if self.judged else None,
            passed=decision.passed,
            reason=decision.reason,
            raw=made.raw,
        )
        return _with_answers(seen, (*made.answers, *evaluation.answers))


def _in_words(error: OverBudget) -> OverBudget:
    """What is a run's budget to the ledger is that of a test run."""
    if error.budget != "run":
        return error
    fix = "raise `budget` in the test file, or pass --budget; answers that were had are kept"
    return OverBudget("the budget of this test run has no room for the call", why=error.why, fix=fix)


def _mean(scores: tuple[Score, ...]) -> float:
    """By weight; one that could not be had counts as 0, as in a weighted gate."""
    return sum((s.value or 0.0) * s.weight for s in scores) / sum(s.weight for s in scores)


def _with_answers(seen: Observed, answers: tuple[Answer, ...]) -> Observed:
    known = [a.cost for a in answers if a.cost is not None]
    return replace(
        seen,
        cost=sum(known) if len(known) == len(answers) else None,
        latency=sum(a.latency for a in answers),
        paid=sum(a.cost or 0.0 for a in answers if not a.reused),
        reused=all(a.reused for a in answers),
        simulated=any(a.simulated for a in answers),
    )


def asker(ready: Prepared, asks: Asks, started_at: float, known: Judgements | None = None) -> Asker:
    """``known`` keeps what judges said. Raises Misconfigured when the pipeline has problems."""
    ready.require()
    prompt, schema, models, model = ready.prompt, ready.schema, ready.models, ready.model
    if prompt is None or schema is None or models is None or model is None:
        raise Misconfigured(f"pipeline `{ready.spec.name}` is not complete", problems=tuple(ready.problems))
    spec = ready.spec
    return Asker(
        transformer=Transformer(
            prompt=prompt,
            ask=asks,
            model=model,
            schema=schema,
            pipeline=spec.name,
            cache=spec.transform.cache,
            salt=SALT,
            asked_at=started_at,
        ),
        panel=build_panel(
            spec.evaluate,
            ask=asks,
            judge=models.judge,
            pipeline=spec.name,
            cache=spec.transform.cache,
            salt=SALT,
            asked_at=started_at,
            root=ready.settings.root,
            known=known,
        ),
        judged=bool(spec.evaluate.evaluators),
        room=asyncio.Semaphore(max(1, round(model.in_flight * _MORE))),
    )
