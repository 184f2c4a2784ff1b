from __future__ import annotations

import pytest

from loom_dagster.errors import Outage, Permanent
from loom_dagster.gateway import Model
from tests.servers.llm import LLMServer


@pytest.mark.parametrize("fault", ["500", "too_long"])
async def test_another_model_is_asked_and_named(asking, fault):
    asking.server.change(poison={'"model":"first"': fault})
    model = asking.model(name="first", max_attempts=2, fallbacks=(asking.model(name="second"),))
    await asking.ask("warm up", model=asking.model(name="first-but-fine"))
    answer = (await asking.outcomes(["hello"], model=model))[0]
    assert (answer.model, answer.text) == ("second", "ok")
    again = await asking.ask("hello", model=asking.model(name="second"))
    assert again.reused, "a fallback's answer has the fallback's key"


async def test_an_outage_of_the_first_is_answered_by_the_second(make_asking):
    with LLMServer(status=503) as down, LLMServer() as up:
        asking = make_asking(down)
        second = Model(name="second", api_base=up.base_url)
        answers = await asking.outcomes(map(str, range(20)), model=asking.model(fallbacks=(second,)))
    assert {answer.model for answer in answers} == {"second"}


@pytest.mark.parametrize("fault", ["refusal", "length", "400"])
async def test_a_refusal_is_final(asking, fault):
    await asking.ask("warm up")
    asking.server.change(script=[fault])
    with pytest.raises(Permanent):
        await asking.ask("hello", model=asking.model(fallbacks=(asking.model(name="second"),)))


@pytest.mark.parametrize("down_is_first", [True, False])
async def test_when_one_is_down_and_the_other_fails_the_record_is_deferred(make_asking, down_is_first):
    with LLMServer(status=503) as down, LLMServer(faults={"too_long": 1.0}) as short:
        first, other = (down, short) if down_is_first else (short, down)
        asking = make_asking(first)
        second = Model(name="second", api_base=other.base_url)
        outcomes = await asking.outcomes(["hello"], model=asking.model(fallbacks=(second,)))
    assert type(outcomes[0]) is Outage
