"""A model that answers as told, a prompt that renders one column, and what they are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from loom_dagster.gateway.question import Message, Model, Question
from loom_dagster.records import Answer, Record, Usage
from loom_dagster.spec.models import Load
from loom_dagster.transform import OutputSchema, Transformer

SENTIMENT = {
    "sentiment": {"type": "string", "enum": ["positive", "negative", "neutral"]},
    "confidence": {"type": "float", "minimum": 0, "maximum": 1},
    "reasoning": "string",
}


class ScriptedModel:
    """Gives ``script`` one by one: a text is answered, an error is raised."""

    def __init__(self, *script: str | Exception) -> None:
        self.script = list(script)
        self.questions: list[Question] = []

    async def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        said = self.script.pop(0)
        if isinstance(said, Exception):
            raise said
        key = str(len(self.questions)).encode()
        return Answer(key=key, model=question.model.name, text=said, usage=Usage(input_tokens=7), cost=0.01)


class ReviewPrompt:
    name, version, digest, context_digest = "classify", "v1", "p" * 8, "c" * 8

    def render(self, columns: Mapping[str, Any]) -> list[Message]:
        return [
            {"role": "system", "content": "You classify."},
            {"role": "user", "content": f"Review: {columns['review']}"},
        ]


@pytest.fixture
def schema_of() -> Callable[[Mapping[str, Any] | None], OutputSchema]:
    def of(fields: Mapping[str, Any] | None) -> OutputSchema:
        return OutputSchema.of(Load(destination="x", schema=fields).schema_ if fields else None)

    return of


@pytest.fixture
def sentiment(schema_of) -> OutputSchema:
    return schema_of(SENTIMENT)


@pytest.fixture
def scripted():
    return ScriptedModel


@pytest.fixture
def record() -> Record:
    return Record(
        id="r1",
        position=0,
        row=0,
        columns={"review": "It broke.", "stars": 1, "expected_sentiment": "negative"},
    )


@pytest.fixture
def transformer(sentiment):
    def make(model: ScriptedModel, *, schema: OutputSchema | None = None, **options: Any) -> Transformer:
        return Transformer(
            prompt=options.pop("prompt", ReviewPrompt()),
            ask=model,
            model=Model(name="m"),
            schema=schema or sentiment,
            pipeline="reviews",
            **options,
        )

    return make


@pytest.fixture
def contents() -> Callable[[Question], Sequence[tuple[str, str]]]:
    return lambda question: [(m["role"], m["content"]) for m in question.messages]
