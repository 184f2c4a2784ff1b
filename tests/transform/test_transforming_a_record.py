"""One call for a good answer, one more for a bad one, and what was paid is never lost from sight."""

from __future__ import annotations

import pytest

from loom_dagster.errors import Misconfigured, Outage, Permanent, Transient
from loom_dagster.records import Answer

GOOD = '{"sentiment": "negative", "confidence": 0.9, "reasoning": "It broke"}'
BAD = "I think it is negative."


async def test_a_good_answer_takes_one_call(transformer, scripted, record, sentiment):
    model = scripted(GOOD)
    made = await transformer(model).transform(record)
    assert made.output == {"sentiment": "negative", "confidence": 0.9, "reasoning": "It broke"}
    assert (made.raw, made.model, made.rendered_input) == (GOOD, "m", "Review: It broke.")
    assert [a.text for a in made.answers] == [GOOD]
    (question,) = model.questions
    assert (question.origin.pipeline, question.origin.record_id) == ("reviews", "r1")
    assert (question.origin.purpose, question.origin.prompt) == ("transform", "classify@v1")
    assert question.schema.body == sentiment.body
    assert question.schema.strict


async def test_without_fields_no_schema_is_asked_for(transformer, scripted, record, schema_of):
    model = scripted("Hello.")
    made = await transformer(model, schema=schema_of(None)).transform(record)
    assert made.output == {"output": "Hello."}
    assert model.questions[0].schema is None


async def test_a_bad_answer_is_repaired_once(transformer, scripted, record, contents):
    model = scripted(BAD, GOOD)
    made = await transformer(model).transform(record, sample=3)
    assert made.raw == GOOD
    assert [a.text for a in made.answers] == [BAD, GOOD]
    first, repair = model.questions
    assert (repair.origin.purpose, repair.sample, first.sample) == ("repair", 3, 3)
    assert contents(repair)[:2] == contents(first)
    assert contents(repair)[2] == ("assistant", BAD)
    role, request = contents(repair)[3]
    assert role == "user"
    assert "JSON object" in request
    assert '"enum":["positive","negative","neutral"]' in request


async def test_the_repair_request_names_what_is_wrong(transformer, scripted, record, contents):
    model = scripted('{"sentiment": "mixed", "confidence": 0.9, "reasoning": "x"}', GOOD)
    await transformer(model).transform(record)
    assert "mixed" in contents(model.questions[1])[-1][1]


async def test_a_second_bad_answer_is_the_end(transformer, scripted, record):
    model = scripted(BAD, "{}")
    with pytest.raises(Permanent) as caught:
        await transformer(model).transform(record)
    assert len(model.questions) == 2
    assert (caught.value.kind, caught.value.raw) == ("wrong_schema", "{}")
    assert [a.text for a in caught.value.answers] == [BAD, "{}"]


async def test_an_empty_answer_is_asked_for_again_without_an_empty_turn(
    transformer, scripted, record, contents
):
    model = scripted(" ", GOOD)
    await transformer(model).transform(record)
    roles = [role for role, _ in contents(model.questions[1])]
    assert roles == ["system", "user"]
    assert contents(model.questions[1])[1][1].startswith("Review: It broke.\n\n")


@pytest.mark.parametrize("kind", ["refused", "truncated", "too_long"])
async def test_what_the_model_will_not_answer_is_not_repaired(transformer, scripted, record, kind):
    model = scripted(Permanent("no", kind=kind))
    with pytest.raises(Permanent) as caught:
        await transformer(model).transform(record)
    assert (caught.value.kind, len(model.questions)) == (kind, 1)


@pytest.mark.parametrize("failure", [Permanent("too long", kind="too_long"), Transient("timeout")])
async def test_a_repair_that_fails_leaves_the_first_reason_and_raw_answer(
    transformer, scripted, record, failure
):
    with pytest.raises(Permanent) as caught:
        await transformer(scripted(BAD, failure)).transform(record)
    assert (caught.value.kind, caught.value.raw) == ("malformed_answer", BAD)
    assert [a.text for a in caught.value.answers] == [BAD]


@pytest.mark.parametrize("failure", [Outage("down"), Misconfigured("no key")])
async def test_what_is_not_about_the_record_passes_through_with_the_answers_paid(
    transformer, scripted, record, failure
):
    with pytest.raises(type(failure)) as caught:
        await transformer(scripted(BAD, failure)).transform(record)
    assert [a.text for a in caught.value.answers] == [BAD]


async def test_answers_that_came_with_the_error_are_kept_once(transformer, scripted, record):
    refused = Permanent("no", kind="refused")
    refused.answers = (Answer(key=b"k", model="m", text="No.", cost=0.2),)
    with pytest.raises(Permanent) as caught:
        await transformer(scripted(refused)).transform(record)
    assert [a.text for a in caught.value.answers] == ["No."]


async def test_feedback_follows_the_previous_answer(transformer, scripted, record, contents):
    model = scripted(GOOD)
    made = await transformer(model).transform(
        record, sample=1, feedback=("quality: too short",), previous="earlier answer"
    )
    said = contents(model.questions[0])
    assert said[2] == ("assistant", "earlier answer")
    assert said[3][0] == "user"
    assert "quality: too short" in said[3][1]
    assert model.questions[0].sample == 1
    assert made.rendered_input == "Review: It broke."  # what is judged does not see the feedback


async def test_feedback_without_an_answer_joins_the_input(transformer, scripted, record, contents):
    model = scripted(GOOD)
    await transformer(model).transform(record, sample=1, feedback=("bad",))
    assert [role for role, _ in contents(model.questions[0])] == ["system", "user"]
