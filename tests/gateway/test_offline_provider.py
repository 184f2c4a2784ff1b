from __future__ import annotations

import json

import pytest

from loom_dagster.gateway import AnswerSchema, Model
from loom_dagster.gateway.offline import Offline

OFFLINE = Model(name="offline/demo")
SHOTS = [
    ("Review: I love this phone, great battery", '{"sentiment": "positive", "confidence": 0.9}'),
    ("Review: Terrible, it broke after a day", '{"sentiment": "negative", "confidence": 0.8}'),
    ("Review: It arrived on Tuesday in a box", '{"sentiment": "neutral", "confidence": 0.7}'),
]


def conversation(text: str) -> list[dict[str, str]]:
    turns = [{"role": "system", "content": "You classify reviews: positive, negative, neutral."}]
    for user, assistant in SHOTS:
        turns += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return [*turns, {"role": "user", "content": text}]


async def test_it_answers_like_the_nearest_example(asking):
    for text, sentiment in [
        ("Review: love the great screen", "positive"),
        ("Review: broke, terrible quality", "negative"),
        ("Review: came in a box on Tuesday", "neutral"),
    ]:
        answer = await asking.ask(messages=conversation(text), model=OFFLINE)
        assert json.loads(answer.text)["sentiment"] == sentiment


async def test_it_is_free_open_about_it_and_the_same_every_time(asking):
    first = await asking.ask(messages=conversation("Review: love it"), model=OFFLINE)
    assert (first.simulated, first.cost, first.model) == (True, 0.0, "offline/demo")
    again = await asking.ask(messages=conversation("Review: love it"), model=OFFLINE, sample=1)
    assert (again.text, again.reused) == (first.text, False)
    assert asking.server.stats()["requests"] == 0


@pytest.mark.parametrize("text", ["", "\u0000 \U0001f9f5", "Review:", "x" * 100_000])
async def test_it_always_answers(text):
    question_like = type("Q", (), {"schema": None})()
    assert (await Offline().send(question_like, conversation(text))).text
    assert (await Offline().send(question_like, [{"role": "user", "content": text}])).text.startswith(
        "simulated: "
    )


async def test_without_examples_it_fits_the_schema(asking):
    import jsonschema_rs

    body = {
        "type": "object",
        "properties": {
            "label": {"type": "string", "enum": ["a", "b"]},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "stars": {"type": "integer", "minimum": 1, "maximum": 5},
            "why": {"type": "string"},
            "sure": {"type": "boolean"},
            "when": {"type": ["string", "null"], "format": "date"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "more": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
        },
        "required": ["label", "confidence", "stars", "why", "sure", "when", "tags", "more"],
        "additionalProperties": False,
    }
    answer = await asking.ask("some words", model=OFFLINE, schema=AnswerSchema(name="x", body=body))
    value = json.loads(answer.text)
    assert jsonschema_rs.is_valid(body, value)
    assert (value["label"], value["why"]) == ("a", "simulated: some words")


def judges():
    """Arbiter's own prompts and schemas, as far as its evaluators need no model."""
    pytest.importorskip("arbiter_ai")
    from arbiter_ai.evaluators import (
        CustomCriteriaEvaluator,
        FactualityEvaluator,
        GroundednessEvaluator,
        RelevanceEvaluator,
        SemanticEvaluator,
    )

    return [
        cls(llm_client=object())
        for cls in (
            SemanticEvaluator,
            CustomCriteriaEvaluator,
            FactualityEvaluator,
            GroundednessEvaluator,
            RelevanceEvaluator,
        )
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
async def test_it_judges_in_the_shape_that_arbiter_accepts(asking):
    for judge in judges():
        for output, reference in [
            ("positive", "positive"),
            ("a long answer of words", "the source says so"),
            ("", "x"),
        ]:
            verdict = await judged(asking, judge, output, reference)
            assert judge._get_response_type().model_validate(verdict)
            assert verdict["explanation"].startswith("simulated: ")
            assert verdict["confidence"] == 0.6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
async def test_it_tells_same_from_different(asking):
    semantic = judges()[0]
    same = await judged(asking, semantic, "Positive", "positive")
    other = await judged(asking, semantic, "negative", "positive")
    near = await judged(asking, semantic, "the film was good and long", "the film was good and short")
    assert same["score"] > 0.95 > near["score"] > other["score"]
    assert other["score"] < 0.3


async def judged(asking, judge, output, reference):
    messages = [
        {"role": "system", "content": judge._get_system_prompt()},
        {
            "role": "user",
            "content": judge._get_user_prompt(output, reference, "accurate")
            if judge.name == "custom_criteria"
            else judge._get_user_prompt(output, reference, None),
        },
    ]
    schema = AnswerSchema(name="verdict", body=judge._get_response_type().model_json_schema())
    return json.loads((await asking.ask(messages=messages, model=OFFLINE, schema=schema)).text)
