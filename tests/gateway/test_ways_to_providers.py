from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from loom_dagster.errors import Misconfigured, Permanent, Transient
from loom_dagster.gateway import AnswerSchema, Model, PriceBook, check_model
from loom_dagster.gateway.lanes import Address, way_of
from loom_dagster.gateway.providers import PROVIDERS, Way
from tests.servers.llm import LLMServer

BOOK = PriceBook.load()
DOCS = Path(__file__).parents[2] / "docs" / "pipelines.md"
OPENAI = "https://api.openai.com/v1"
OTHER = "fireworks_ai/accounts/fireworks/models/llama-v3p1-8b-instruct"  # no lane of ours


@pytest.mark.parametrize(
    ("model", "environ", "url", "name", "key_env"),
    [
        ({"name": "gpt-4o-mini"}, {}, OPENAI, "gpt-4o-mini", "OPENAI_API_KEY"),
        ({"name": "openai/gpt-4o-mini"}, {}, OPENAI, "gpt-4o-mini", "OPENAI_API_KEY"),
        ({"name": "gpt-4o"}, {"OPENAI_BASE_URL": "http://g/v1"}, "http://g/v1", "gpt-4o", "OPENAI_API_KEY"),
        ({"name": "mine"}, {"OPENAI_BASE_URL": "http://g/v1"}, "http://g/v1", "mine", "OPENAI_API_KEY"),
        (
            {"name": "org/mine", "api_base": "http://h/v1/chat/completions"},
            {},
            "http://h/v1",
            "org/mine",
            "OPENAI_API_KEY",
        ),
        (
            {"name": "hosted_vllm/org/mine"},
            {"HOSTED_VLLM_API_BASE": "http://v/v1/"},
            "http://v/v1",
            "org/mine",
            "HOSTED_VLLM_API_KEY",
        ),
        ({"name": "gpt-4o", "api_key_env": "MINE"}, {}, OPENAI, "gpt-4o", "MINE"),
        (
            {"name": "groq/openai/gpt-oss-20b"},
            {},
            "https://api.groq.com/openai/v1",
            "openai/gpt-oss-20b",
            "GROQ_API_KEY",
        ),
        (
            {"name": "together_ai/org/mine"},
            {"TOGETHERAI_API_KEY": "x"},
            "https://api.together.ai/v1",
            "org/mine",
            "TOGETHERAI_API_KEY",
        ),
    ],
)
def test_where_a_model_is_asked(model, environ, url, name, key_env):
    address = Address.of(Model(**model), BOOK, environ)
    assert (address.way, address.url) == (Way.WIRE, f"{url}/chat/completions")
    assert (address.name, address.key_env) == (name, key_env)


def test_where_a_deployment_of_azure_is_asked():
    environ = {"AZURE_API_BASE": "https://mine.openai.azure.com/", "AZURE_API_VERSION": "2024-10-21"}
    address = Address.of(Model(name="azure/my deployment"), BOOK, environ)
    assert address.url == (
        "https://mine.openai.azure.com/openai/deployments/my%20deployment/chat/completions?api-version=2024-10-21"
    )
    assert address.headers("k") == {"api-key": "k"}
    assert address.key_env == "AZURE_API_KEY"


@pytest.mark.parametrize(
    ("model", "environ", "way"),
    [
        ({"name": "offline/demo"}, {}, Way.OFFLINE),
        ({"name": "anthropic/claude-x", "api_base": "http://a"}, {}, Way.CONFIG),
        ({"name": "claude-sonnet-4-5"}, {}, Way.CONFIG),
        ({"name": "bedrock/anthropic.claude-x"}, {}, Way.LITELLM),
        ({"name": "gpt-5-pro"}, {}, Way.LITELLM),  # served on /responses only
        ({"name": "groq/llama-3.3-70b-versatile"}, {}, Way.WIRE),
        # there litellm makes a tool of the schema
        ({"name": "groq/llama-3.3-70b-versatile", "structured": True}, {}, Way.LITELLM),
        ({"name": "azure/mine"}, {"AZURE_API_VERSION": "preview"}, Way.LITELLM),
        ({"name": "who-knows"}, {}, None),
    ],
)
def test_which_way_a_model_takes(model, environ, way):
    assert way_of(Model(**model), environ, BOOK) is way


@pytest.mark.parametrize("way", [Way.WIRE, Way.CONFIG])
def test_the_docs_name_every_provider_of_a_lane(way):
    [row] = [line for line in DOCS.read_text().splitlines() if line.startswith(f"| {way} |")]
    named = set(re.findall(r"`(\w+)`", row.split("|")[2])) - {"api_base"}
    assert named == {name for name, provider in PROVIDERS.items() if provider.way is way}


@pytest.mark.parametrize(
    ("model", "environ", "word"),
    [
        ({"name": "gpt-4o-mini"}, {}, "OPENAI_API_KEY"),
        ({"name": "anthropic/claude-x"}, {}, "ANTHROPIC_API_KEY"),
        ({"name": "gpt-4o-mini", "api_key_env": "MINE"}, {"OPENAI_API_KEY": "x"}, "MINE"),
        ({"name": "who-knows"}, {"OPENAI_API_KEY": "x"}, "who-knows"),
        ({"name": "hosted_vllm/x"}, {}, "HOSTED_VLLM_API_BASE"),
        ({"name": "azure/x"}, {"AZURE_API_KEY": "x"}, "AZURE_API_BASE"),
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
    await asking.ask("5", schema=SCHEMA, model=asking.model(name="hosted_vllm/any"))
    formats = [request.get("response_format") for request in server.requests]
    sent = {"type": "json_schema", "json_schema": {"name": "output", "schema": SCHEMA.body, "strict": True}}
    assert formats == [None, sent, sent, None, sent]


async def test_reasoning_models_take_other_parameters(make_asking, server):
    asking = make_asking(server)
    await asking.ask("1", model=asking.model(name="o3-mini", max_tokens=77))
    request = server.requests[0]
    assert request["max_completion_tokens"] == 77
    assert not {"temperature", "max_tokens"} & set(request)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
async def test_other_providers_go_through_litellm(make_asking, server):
    before = {
        name: os.environ.get(name) for name in ("LITELLM_LOCAL_MODEL_COST_MAP", "PYTHON_DOTENV_DISABLED")
    }
    asking = make_asking(server, environ={"MINE": "sk-very-secret-key"})
    await asking.ask("warm up", model=asking.model(name=OTHER, api_key_env="MINE"))
    model = asking.model(name=OTHER, api_key_env="MINE", max_attempts=2)
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
        asking = make_asking(server, environ={"MINE": "x"})
        with pytest.raises(Misconfigured) as raised:
            await asking.ask("hello", model=asking.model(name=OTHER, api_key_env="MINE"))
    assert raised.value.kind == "quota"
