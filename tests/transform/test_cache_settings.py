"""``cache:`` decides which questions share an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loom_dagster.spec.models import Cache
from loom_dagster.transform import check_key_fields

GOOD = '{"sentiment": "negative", "confidence": 0.9, "reasoning": "It broke"}'


@pytest.fixture
def asked(transformer, scripted):
    async def ask(record, *answers, **options):
        model = scripted(*(answers or (GOOD,)))
        call = {k: options.pop(k) for k in ("sample", "feedback", "previous") if k in options}
        await transformer(model, **options).transform(record, **call)
        return model.questions

    return ask


def changed(record, **columns):
    return replace(record, columns={**record.columns, **columns})


async def test_without_key_fields_the_messages_are_the_key(asked, record):
    (question,) = await asked(record)
    assert question.identity is None


async def test_key_fields_narrow_the_key_to_named_columns(asked, record):
    cache = Cache(key_fields=("review", "model", "prompt_version"))
    (a,) = await asked(record, cache=cache)
    (same,) = await asked(changed(record, stars=5), cache=cache)
    (other,) = await asked(changed(record, review="Fine."), cache=cache)
    assert a.identity is not None
    assert a.identity == same.identity
    assert a.identity != other.identity


async def test_prompt_and_contexts_always_count(asked, record):
    cache = Cache(key_fields=("review",))
    (a,) = await asked(record, cache=cache)

    class OtherPrompt:
        name, version, digest, context_digest = "classify", "v1", "another", "c" * 8

        def render(self, columns):
            return [{"role": "user", "content": "x"}]

    class OtherContext(OtherPrompt):
        digest, context_digest = "p" * 8, "another"

    (b,) = await asked(record, cache=cache, prompt=OtherPrompt())
    (c,) = await asked(record, cache=cache, prompt=OtherContext())
    assert len({a.identity, b.identity, c.identity}) == 3


@pytest.mark.parametrize("fields", [("model", "prompt_version"), ("review", "gone")])
async def test_records_never_become_one_question_by_accident(asked, record, fields):
    (question,) = await asked(record, cache=Cache(key_fields=fields))
    assert question.identity is None


async def test_repair_and_feedback_are_questions_of_their_own(asked, record):
    cache = Cache(key_fields=("review",))
    first, repair = await asked(record, "bad", GOOD, cache=cache)
    _, another = await asked(record, "worse", GOOD, cache=cache)
    (told,) = await asked(record, cache=cache, feedback=("no",), previous="x", sample=1)
    assert len({first.identity, repair.identity, another.identity, told.identity}) == 4


async def test_a_disabled_cache_salts_the_run_and_an_enabled_one_does_not(asked, record):
    (off,) = await asked(record, cache=Cache(enabled=False), salt="run-1")
    (on,) = await asked(record, cache=Cache(), salt="run-1")
    assert (off.salt, on.salt) == ("run-1", "")


async def test_ttl_is_counted_back_from_the_start_of_the_run(asked, record):
    (question,) = await asked(record, cache=Cache(ttl="7d"), asked_at=1000.0)
    assert (question.max_age, question.asked_at) == (7 * 86400.0, 1000.0)


def test_unknown_key_fields_are_problems_with_the_nearest_name():
    cache = Cache(key_fields=("revew", "model", "prompt_version", "stars"))
    (problem,) = check_key_fields(cache, ["review", "stars"], where=lambda *loc: f"p.yaml:{len(loc)}")
    assert "`revew`" in problem.what
    assert "`review`" in (problem.fix or "")
    assert problem.where == "p.yaml:3"
