from __future__ import annotations

import asyncio

import pytest

from loom_dagster.errors import Permanent
from loom_dagster.gateway import AnswerSchema, Model


async def test_an_answer_is_stored_and_read_back_without_a_call(asking):
    first = await asking.ask("hello")
    second = await asking.ask("hello")
    assert (first.text, first.reused) == ("ok", False)
    assert (second.text, second.reused) == ("ok", True)
    assert (second.usage, second.latency, second.model) == (first.usage, first.latency, "any")
    assert asking.server.stats()["requests"] == 1
    assert [answer.reused for _, answer in asking.heard] == [False, True]


async def test_identical_questions_in_flight_are_one_call(asking):
    asking.server.change(latency=0.05)
    answers = await asking.outcomes(["same"] * 20)
    assert asking.server.stats()["requests"] == 1
    assert sorted(answer.reused for answer in answers) == [False] + [True] * 19
    assert len(asking.heard) == 20


async def test_those_who_wait_for_a_cancelled_call_ask_themselves(asking):
    asking.server.change(latency=0.1)
    first = asyncio.ensure_future(asking.ask("same"))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(asking.ask("same"))
    await asyncio.sleep(0.02)
    first.cancel()
    assert (await second).text == "ok"
    assert first.cancelled()


async def test_those_who_wait_for_a_failing_call_fail_with_it(asking):
    asking.server.change(script=["too_long"], latency=0.02)
    outcomes = await asking.outcomes(["same"] * 3)
    assert [type(error) for error in outcomes] == [Permanent] * 3
    assert asking.server.stats()["requests"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"sample": 1},
        {"salt": "run-2"},
        {"schema": AnswerSchema(name="x", body={"type": "object"})},
        {"identity": b"only this field"},
        {"messages": [{"role": "system", "content": "hello"}]},
    ],
)
async def test_what_determines_an_answer_is_part_of_its_key(asking, change):
    await asking.ask("hello")
    await asking.ask("hello", **change)
    assert asking.server.stats()["requests"] == 2


@pytest.mark.parametrize(
    "change", [{"temperature": 0.7}, {"max_tokens": 5}, {"extra": {"seed": 1}}, {"name": "openai/other"}]
)
async def test_parameters_of_the_model_are_part_of_the_key(asking, change):
    await asking.ask("hello")
    await asking.ask("hello", model=asking.model(**change))
    assert asking.server.stats()["requests"] == 2


async def test_limits_are_no_part_of_the_key(asking):
    await asking.ask("hello")
    await asking.ask("hello", model=asking.model(in_flight=3, max_attempts=9, tokens_per_minute=9))
    assert asking.server.stats()["requests"] == 1


async def test_identity_stands_for_the_messages(asking):
    await asking.ask("one wording", identity=b"same")
    assert (await asking.ask("another wording", identity=b"same")).reused


async def test_an_answer_older_than_its_ttl_is_asked_again(asking):
    await asking.ask("hello")
    stored = asking.clock.now().timestamp()
    assert (await asking.ask("hello", max_age=60, asked_at=stored + 59)).reused
    asking.clock.time += 61
    assert not (await asking.ask("hello", max_age=60, asked_at=stored + 61)).reused
    assert asking.store.count() == 1


@pytest.mark.parametrize(
    ("fault", "kind", "raw"),
    [
        ("length", "truncated", "o"),
        ("refusal", "refused", "I'm sorry, I can't help with that."),
        ("filter", None, "o"),
    ],
)
async def test_a_useless_answer_was_paid_for_and_is_kept(asking, fault, kind, raw):
    asking.server.change(script=[fault])
    with pytest.raises(Permanent) as first:
        await asking.ask("hello")
    with pytest.raises(Permanent) as again:
        await asking.ask("hello")
    assert asking.server.stats()["requests"] == 1
    assert first.value.kind == again.value.kind
    assert kind is None or first.value.kind == kind
    assert first.value.raw == raw
    assert [answer.reused for _, answer in asking.heard] == [False, True]


async def test_an_empty_answer_is_an_answer(asking):
    asking.server.change(script=["empty"])
    assert (await asking.ask("hello")).text == ""


async def test_cost_is_by_the_models_own_price(asking):
    from loom_dagster.gateway import Price

    answer = await asking.ask("x" * 400, model=asking.model(price=Price(input=0.01, output=0.1)))
    assert answer.cost == pytest.approx(answer.usage.input_tokens * 0.01 + answer.usage.output_tokens * 0.1)
    assert (await asking.ask("no price")).cost is None


async def test_closing_cancels_what_is_in_flight(make_asking, server):
    asking = make_asking(server)
    server.change(latency=30)
    task = asyncio.ensure_future(asking.ask("hello"))
    while server.stats()["in_flight"] == 0:  # noqa: ASYNC110 - the server is in another thread
        await asyncio.sleep(0.01)
    await asking.gateway.close()
    assert task.cancelled()


def test_a_model_shows_no_key():
    assert "key" not in repr(Model(name="x")).replace("api_key_env", "")
