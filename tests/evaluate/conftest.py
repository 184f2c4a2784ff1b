"""A judge that answers as told, and cases to be judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from loom_dagster.evaluate import Case, Panel, build_panel
from loom_dagster.gateway.question import Model, Question
from loom_dagster.records import Answer, Record
from loom_dagster.spec.models import Cache, Evaluate


def verdict(score: float, **more: Any) -> str:
    return json.dumps({"score": score, "confidence": 0.6, "explanation": f"It is {score}.", **more})


class ScriptedJudge:
    """Gives ``script`` one by one (the last one again and again): texts, errors, or functions of the question."""

    def __init__(self, *script: str | Exception | Callable[[Question], str]) -> None:
        self.script = list(script) or [verdict(1.0)]
        self.questions: list[Question] = []

    async def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, Exception):
            raise said
        text = said if isinstance(said, str) else said(question)
        return Answer(key=str(len(self.questions)).encode(), model=question.model.name, text=text, cost=0.01)


@pytest.fixture
def judge():
    return ScriptedJudge


@pytest.fixture
def panel(tmp_path) -> Callable[..., Panel]:
    def build(
        *evaluators: Mapping[str, Any] | str,
        ask: Any = None,
        gate: Any = "all_pass",
        root: Path = tmp_path,
        cache: Cache | None = None,
        salt: str = "",
        asked_at: float = 0.0,
    ) -> Panel:
        return build_panel(
            Evaluate(evaluators=evaluators, quality_gate=gate),
            ask=ask or ScriptedJudge(),
            judge=lambda own: Model(name=own or "judge"),
            pipeline="reviews",
            root=root,
            cache=cache,
            salt=salt,
            asked_at=asked_at,
        )

    return build


@pytest.fixture
def case() -> Callable[..., Case]:
    def make(
        output: Mapping[str, Any] | None = None, *, rendered: str = "Review: It broke.", **columns: Any
    ) -> Case:
        return Case(
            record=Record(id="r1", position=0, row=0, columns={"review": "It broke.", **columns}),
            output={"sentiment": "negative", "confidence": 0.9} if output is None else output,
            rendered_input=rendered,
        )

    return make


@pytest.fixture
def score(panel, case):
    """The one score of one evaluator."""

    async def of(evaluator, output=None, *, ask=None, rendered="Review: It broke.", root=None, **columns):
        options = {} if root is None else {"root": root}
        evaluation = await panel(evaluator, ask=ask, **options).judge(
            case(output, rendered=rendered, **columns)
        )
        (one,) = evaluation.decision.scores
        return one

    return of
