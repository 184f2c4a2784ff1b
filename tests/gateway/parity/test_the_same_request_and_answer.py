"""A lane sends what litellm's completion sends, and reads the answer as litellm reads it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loom_dagster.gateway import AnswerSchema, Model
from loom_dagster.gateway.litellm_lane import import_litellm
from tests.gateway.parity.conftest import BOOK, USER
from tests.gateway.parity.speakers import SPEAKERS, Speaker
from tests.servers.providers import Said, Seen

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

OURS = "loom-dagster"
SCHEMA = AnswerSchema(
    name="output",
    body={
        "type": "object",
        "properties": {
            "label": {"type": "string", "enum": ["good", "bad"]},
            "why": {"type": ["string", "null"]},
            "parts": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        },
        "required": ["label", "why", "parts"],
        "additionalProperties": False,
    },
)
ANSWER = '{"label": "good", "why": null, "parts": []}'
SHOTS = [
    {"role": "system", "content": "Be  brief.\n"},
    {"role": "user", "content": "first"},
    {"role": "assistant", "content": "good"},
    {"role": "user", "content": "second "},
]
ODD = 'café \u202e\u0000 🧵👩‍🚀 \ufeff\u2028 \ufffd ß İ \\ " {{ }} </s>'
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "system and user": {"messages": SHOTS[:1] + USER},
    "examples": {"messages": SHOTS},
    "schema": {"schema": SCHEMA, "said": Said(text=ANSWER)},
    "schema and examples": {"schema": SCHEMA, "messages": SHOTS, "said": Said(text=ANSWER)},
    "cut at its token limit": {"said": Said(text="once upon", finish="length"), "max_tokens": 3},
    "filtered": {"said": Said(text="", finish="filter")},
    "refused": {"said": Said(text="I cannot help with that.", finish="refusal")},
    "cached tokens": {"said": Said(into=2000, cached=1500)},
    "unicode": {"messages": [{"role": "user", "content": ODD}], "said": Said(text=ODD)},
    "empty answer": {"said": Said(text="", out=0)},
    "all parameters": {"temperature": 0.7, "max_tokens": 5, "extra": {"top_p": 0.5, "seed": 3}},
    "no temperature": {"temperature": None},
    "temperature 1": {"temperature": 1.0},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("speaker", SPEAKERS, ids=lambda s: s.provider)
async def test_of_every_provider(both, speaker: Speaker, case):
    await compare(both, speaker, speaker.model, **CASES[case])


REASONING = [s for s in SPEAKERS if s.reasoning]


@pytest.mark.parametrize("case", ["plain", "schema", "all parameters", "temperature 1", "system and user"])
@pytest.mark.parametrize("speaker", REASONING, ids=lambda s: s.provider)
async def test_of_models_that_think(both, speaker: Speaker, case):
    asked = CASES[case]
    said = replace(asked.get("said", Said()), thought=64, out=80)
    await compare(both, speaker, speaker.reasoning, **{**asked, "said": said})


@pytest.mark.parametrize("name", ["anthropic/claude-3-5-haiku-20241022", "anthropic/claude-3-haiku-20240307"])
async def test_of_a_schema_that_becomes_a_tool(both, name):
    speaker = next(s for s in SPEAKERS if s.provider == "anthropic")
    await compare(both, speaker, name, schema=SCHEMA, said=Said(text=ANSWER, tool=True))


async def compare(
    both: Any,
    speaker: Speaker,
    name: str,
    *,
    messages: Any = USER,
    schema: AnswerSchema | None = None,
    said: Said | None = None,
    **changes: Any,
) -> None:
    """Once by litellm, three times by our lane: the first is the lane's lesson, the others its habit."""
    server = both.server
    model = Model(
        name=name,
        api_base=speaker.base(server),
        api_key_env="THE_KEY",
        structured=None if schema is None or BOOK.takes_schema(name) else True,
        **{"max_tokens": 77, **changes},
    )
    server.says(speaker.form, said or Said(), model=name.partition("/")[2])
    theirs = await both.theirs(model, messages, schema, speaker.known_as)
    [expected] = server.seen
    server.seen.clear()
    replies = [await both.ours(model, messages, schema) for _ in range(3)]
    assert [seen.agent for seen in server.seen] == [OURS] * 3  # over our own connections, not litellm's
    for seen in server.seen:
        assert sent(seen) == sent(expected)
    choice, usage = theirs.choices[0], theirs.usage
    refusal = (choice.message.provider_specific_fields or {}).get("refusal")
    priced = cost(theirs, speaker, name)
    for reply in replies:
        assert reply.text == (refusal or choice.message.content or "")
        assert reply.finish == ("refused" if refusal else choice.finish_reason)
        assert reply.usage.input_tokens == usage.prompt_tokens
        assert reply.usage.output_tokens == usage.completion_tokens
        assert reply.usage.cached_tokens == (getattr(usage.prompt_tokens_details, "cached_tokens", 0) or 0)
        assert reply.headers["Content-Type"].startswith("application/json")
        assert BOOK.cost(model, reply.usage) == priced


def sent(seen: Seen) -> tuple[Any, ...]:
    """All of a request that means something."""
    headers = dict(seen.headers)
    headers.pop("content-type", None)  # litellm sends none to Ollama, and every provider takes JSON
    return seen.method, seen.path, headers, seen.body


def cost(theirs: Any, speaker: Speaker, name: str) -> Any:
    """What litellm says it cost; None where the price file has no price: litellm then says 0, or raises."""
    if BOOK.price(name) is None:
        return None
    litellm = import_litellm()
    priced = litellm.completion_cost(theirs, model=name, custom_llm_provider=speaker.provider)
    return pytest.approx(priced, rel=1e-9)
