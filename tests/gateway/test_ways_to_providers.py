from __future__ import annotations

import os

import pytest

from loom_dagster.errors import Misconfigured, Permanent, Transient
from loom_dagster.gateway import AnswerSchema, Model, PriceBook, check_model
from loom_dagster.gateway.lanes import Address
from tests.servers.llm import LLMServer

BOOK = PriceBook.load()
OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("model", "environ", "wire", "name", "base", "key_env"),
    [
        ({"name": "gpt-4o-mini"}, {}, True, "gpt-4o-mini", OPENAI, "OPENAI_API_KEY"),
        ({"name": "openai/gpt-4o-mini"}, {}, True, "gpt-4o-mini", OPENAI, "OPENAI_API_KEY"),
        (
            {"name": "gpt-4o"},
            {"OPENAI_BASE_URL": "http://g/v1"},
            True,
            "gpt-4o",
            "http://g/v1",
            "OPENAI_API_KEY",
        ),
        ({"name": "mine"}, {"OPENAI_BASE_URL": "http://g/v1"}, True, "mine", "http://g/v1", "OPENAI_API_KEY"),
        (
            {"name": "org/mine", "api_base": "http://h/v1"},
            {},
            True,
            "org/mine",
            "http://h/v1",
            "OPENAI_API_KEY",
        ),
        (
            {"name": "hosted_vllm/org/mine"},
            {"HOSTED_VLLM_API_BASE": "http://v/v1"},
            True,
            "org/mine",
            "http://v/v1",
            "HOSTED_VLLM_API_KEY",
        ),
        ({"name": "gpt-4o", "api_key_env": "MINE"}, {}, True, "gpt-4o", OPENAI, "MINE"),
        ({"name": "groq/llama-3.3-70b-versatile"}, {}, False, None, None, "GROQ_API_KEY"),
        (
            {"name": "anthropic/claude-x", "api_base": "http://a"},
            {},
            False,
            None,
            "http://a",
            "ANTHROPIC_API_KEY",
        ),
    ],
)
def test_where_a_model_is_asked(model, environ, wire, name, base, key_env):
    address = Address.of(Model(**model), BOOK, environ)
    assert (address.wire, address.base, address.key_env) == (wire, base, key_env)
    assert name is None or address.name == name


@pytest.mark.parametrize(
    ("model", "environ", "word"),
    [
        ({"name": "gpt-4o-mini"}, {}, "OPENAI_API_KEY"),
        ({"name": "anthropic/claude-x"}, {}, "ANTHROPIC_API_KEY"),
        ({"name": "gpt-4o-mini", "api_key_env": "MINE"}, {"OPENAI_API_KEY": "x"}, "MINE"),
        ({"name": "who-knows"}, {"OPENAI_API_KEY": "x"}, "who-knows"),
        ({"name": "hosted_vllm/x"}, {}, "api_base"),
    ],
)
def test_what_is_missing_is_known_before_the_first_call(model, environ, word):
    problems = check_model(Model(**model), environ, BOOK)
    assert len(problems) == 1
    assert word in str(problems[0])


@pytest.mark.parametrize(
    ("model", "environ"),
    [
        ({"name": "offline/demo"}, {}),
        ({"name": "gpt-4o-mini"}, {"OPENAI_API_KEY": "x"}),
        ({"name": "who-knows", "api_base": "http://h/v1"}, {}),
        ({"name": "gpt-4o-mini", "api_base": "http://h/v1"}, {}),
        ({"name": "gemini/gemini-x"}, {"GOOGLE_API_KEY": "x"}),
        ({"name": "ollama/llama3"}, {}),
    ],
)
def test_what_is_there_is_no_problem(model, environ):
    assert check_model(Model(**model), environ, BOOK) == ()


SCHEMA = AnswerSchema(
    name="output",
    body={
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    },
)


async def test_a_schema_is_sent_where_the_model_takes_it(make_asking, server):
    asking = make_asking(server)
    await asking.ask("1", schema=SCHEMA)
    await asking.ask("2", schema=SCHEMA, model=asking.model(structured=True))
    await asking.ask("3", schema=SCHEMA, model=asking.model(name="gpt-4o-mini"))
    await asking.ask("4", schema=SCHEMA, model=asking.model(name="gpt-4o-mini", structured=False))
    formats = [request.get("response_format") for request in server.requests]
    sent = {"type": "json_schema", "json_schema": {"name": "output", "schema": SCHEMA.body, "strict": True}}
    assert formats == [None, sent, sent, None]


async def test_reasoning_models_take_other_parameters(make_asking, server):
    asking = make_asking(server)
    await asking.ask("1", model=asking.model(name="o3-mini", max_tokens=77))
    request = server.requests[0]
    assert request["max_completion_tokens"] == 77
    assert not {"temperature", "max_tokens"} & set(request)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "changes",
    [{}, {"temperature": 0.7, "max_tokens": 5}, {"extra": {"top_p": 0.5, "seed": 3, "stop": ["x"]}}],
)
async def test_our_wire_sends_what_litellm_sends(make_asking, server, changes):
    from loom_dagster.gateway.litellm_lane import import_litellm

    litellm = import_litellm()
    asking = make_asking(server, environ={"OPENAI_API_KEY": "x"})
    model = asking.model(name="openai/gpt-4o-mini", **changes)
    ours = await asking.ask("hello", model=model, schema=SCHEMA)
    response_format = {
        "type": "json_schema",
        "json_schema": {"name": "output", "schema": dict(SCHEMA.body), "strict": True},
    }
    theirs = await litellm.acompletion(
        model=model.name,
        messages=[{"role": "user", "content": "hello"}],
        temperature=model.temperature,
        max_tokens=model.max_tokens,
        api_base=model.api_base,
        api_key="x",
        max_retries=0,
        response_format=response_format,
        **model.extra,
    )
    await litellm.close_litellm_async_clients()
    own, other = server.requests
    assert own == other
    assert ours.text == theirs.choices[0].message.content
    assert ours.usage.input_tokens == theirs.usage.prompt_tokens


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
async def test_other_providers_go_through_litellm(make_asking, server):
    before = {
        name: os.environ.get(name) for name in ("LITELLM_LOCAL_MODEL_COST_MAP", "PYTHON_DOTENV_DISABLED")
    }
    asking = make_asking(server, environ={"MISTRAL_API_KEY": "sk-very-secret-key"})
    await asking.ask("warm up", model=asking.model(name="mistral/mistral-small-latest"))
    model = asking.model(name="mistral/mistral-small-latest", max_attempts=2)
    assert (await asking.ask("hello", model=model)).text == "ok"

    server.change(script=["429", "ok"], retry_after="13")
    assert (await asking.ask("throttled", model=model)).text == "ok"
    assert any(13 <= slept <= 14 for slept in asking.clock.sleeps)
    server.change(script=["400"])
    with pytest.raises(Permanent):
        await asking.ask("rejected", model=model)
    server.change(script=["too_long"])
    with pytest.raises(Permanent) as long:
        await asking.ask("long", model=model)
    assert long.value.kind == "too_long"
    server.change(poison={"bad one": "500"})
    outcomes = await asking.outcomes(["bad one", "1", "2"], model=model)
    assert type(outcomes[0]) is Transient
    server.change(script=["401"], poison={})
    with pytest.raises(Misconfigured) as key:
        await asking.ask("no key", model=model)
    assert "secret" not in f"{key.value} {key.value.__cause__!r}"
    assert {name: os.environ.get(name) for name in before} == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
async def test_a_used_up_quota_stops_the_run_through_litellm_too(make_asking):
    with LLMServer(faults={"quota": 1.0}) as server:
        asking = make_asking(server, environ={"MISTRAL_API_KEY": "x"})
        with pytest.raises(Misconfigured) as raised:
            await asking.ask("hello", model=asking.model(name="mistral/mistral-small-latest"))
    assert raised.value.kind == "quota"
