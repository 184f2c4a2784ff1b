from __future__ import annotations

import pytest

from loom_dagster.errors import Permanent
from loom_dagster.gateway import PriceBook
from loom_dagster.gateway.length import excess, share_that_fits, shorten

SMALL = PriceBook({"any": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 100}})


async def test_what_cannot_fit_is_known_before_it_is_sent(make_asking, server):
    asking = make_asking(server, prices=SMALL)
    with pytest.raises(Permanent) as raised:
        await asking.ask("x" * 801)
    assert raised.value.kind == "too_long"
    assert server.stats()["requests"] == 0


@pytest.mark.parametrize("text", ["x" * 799, " " * 100_000, "word \n\t " * 100])
async def test_what_may_fit_is_sent(make_asking, server, text):
    asking = make_asking(server, prices=SMALL)
    assert (await asking.ask(text)).text == "ok"


async def test_truncate_cuts_only_what_is_beyond_from_the_last_user_message(make_asking, server):
    asking = make_asking(server, prices=SMALL)
    messages = [{"role": "system", "content": "s" * 100}, {"role": "user", "content": "u" * 2000}]
    answer = await asking.ask(messages=messages, model=asking.model(on_too_long="truncate"))
    assert answer.text == "ok"
    sent = server.requests[0]["messages"]
    assert sent[0]["content"] == "s" * 100
    assert 690 <= len(sent[1]["content"]) <= 700
    assert len(asking.notes) == 1
    assert "cut from 2,100 to" in asking.notes[0]


async def test_the_providers_word_counts_too(asking):
    asking.server.change(script=["too_long", "too_long", "ok"])
    await asking.ask("x" * 1000, model=asking.model(on_too_long="truncate"))
    sizes = [len(request["messages"][0]["content"]) for request in asking.server.requests]
    assert sizes[0] == 1000 > sizes[1] > sizes[2] > 500


async def test_a_prompt_that_stays_too_long_is_given_up(asking):
    asking.server.change(faults={"too_long": 1.0})
    with pytest.raises(Permanent):
        await asking.ask("x" * 1000, model=asking.model(on_too_long="truncate"))
    assert asking.server.stats()["requests"] <= 8


def test_numbers_in_the_complaint_say_how_much_to_keep():
    said = "maximum context length is 8192 tokens. However, your messages resulted in 10240 tokens"
    assert share_that_fits(Permanent("x", why=said)) == pytest.approx(0.8 * 0.97)
    said = "prompt is too long: 210000 tokens > 200000 maximum"
    assert share_that_fits(Permanent("x", why=said)) == pytest.approx(200 / 210 * 0.97)
    assert share_that_fits(Permanent("x", why="too long")) == 0.75


def test_edges_of_cutting():
    user = {"role": "user", "content": "u" * 10}
    assert shorten([{"role": "system", "content": "s" * 90}, user], 0.5) is None
    assert shorten([{"role": "system", "content": "s"}], 0.5) is None
    said = {"role": "assistant", "content": "a"}
    assert shorten([user, said], 0.6) == [{"role": "user", "content": "u" * 5}, said]
    assert excess([user], 1) == pytest.approx(0.8)
    assert excess([{"role": "user", "content": "\U0001f9f5" * 10}], 5) is None
