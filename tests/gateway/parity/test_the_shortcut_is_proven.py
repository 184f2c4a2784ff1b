"""litellm's configuration is used alone only where it says what litellm says as a whole."""

from __future__ import annotations

import pytest

from loom_dagster.gateway import AnswerSchema, Model
from loom_dagster.gateway.config_lane import ConfigLane
from loom_dagster.gateway.connection import make_session
from loom_dagster.gateway.litellm_lane import LiteLLM, import_litellm
from tests.gateway.parity.conftest import KEY, USER, question_of
from tests.servers.providers import Said

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

OURS = "loom-dagster"
SCHEMA = AnswerSchema(name="output", body={"type": "object", "properties": {"a": {"type": "string"}}})


@pytest.fixture
def claude(both):
    both.server.says("anthropic", Said(cached=7))
    return Model(name="anthropic/claude-sonnet-4-5", api_base=both.server.url, api_key_env="THE_KEY")


async def test_litellm_is_asked_as_a_whole_once_for_a_model_and_schema(both, claude, monkeypatch):
    litellm, asked = import_litellm(), []
    whole = litellm.completion
    monkeypatch.setattr(litellm, "completion", lambda **given: asked.append(given) or whole(**given))
    for schema in (None, SCHEMA, None, SCHEMA, None):
        assert (await both.ours(claude, schema=schema)).usage.cached_tokens == 7
    request_and_answer = 2
    assert len(asked) == 2 * request_and_answer
    assert {seen.agent for seen in both.server.seen} == {OURS}


async def test_a_request_with_more_in_it_goes_through_litellm(both, claude, monkeypatch):
    import_litellm()
    from litellm.llms.anthropic.chat import handler

    def newer(
        headers, request_data, provider
    ):  # as another version of litellm may do, around the configuration
        return headers, {**request_data, "metadata": {"user_id": "u"}}

    monkeypatch.setattr(handler, "update_request_with_filtered_beta", newer)
    for _ in range(2):
        assert (await both.ours(claude)).text == "ok"
    assert [seen.body["metadata"] for seen in both.server.seen] == [{"user_id": "u"}] * 2
    assert OURS not in {seen.agent for seen in both.server.seen}


async def test_an_answer_that_needs_more_of_litellm_is_read_by_litellm(both, claude, monkeypatch):
    litellm = import_litellm()
    known = litellm.AnthropicConfig.transform_response

    def newer(self, **given):  # as another version may do: it looks at what only a whole call has
        assert given["logging_obj"].litellm_call_id
        return known(self, **given)

    monkeypatch.setattr(litellm.AnthropicConfig, "transform_response", newer)
    for _ in range(3):
        reply = await both.ours(claude)
        assert (reply.text, reply.usage.cached_tokens) == ("ok", 7)
    agents = [seen.agent for seen in both.server.seen]
    assert agents[0] == OURS
    assert OURS not in agents[1:]


async def test_an_answer_that_litellm_reads_otherwise_is_read_by_litellm(both, claude, monkeypatch):
    litellm = import_litellm()
    known = litellm.AnthropicConfig.transform_response

    def newer(self, **given):
        answer = known(self, **given)
        if hasattr(given["logging_obj"], "litellm_call_id"):
            answer.choices[0].message.content = "better"
        return answer

    monkeypatch.setattr(litellm.AnthropicConfig, "transform_response", newer)
    assert [(await both.ours(claude)).text for _ in range(2)] == ["better", "better"]


async def test_a_provider_without_a_configuration_goes_through_litellm(both):
    both.server.says("openai", Said())
    model = Model(name="openai/mine", api_base=f"{both.server.url}/v1")
    async with make_session() as session:
        whole = LiteLLM(model, key=KEY, key_env=None, structured=False)
        lane = ConfigLane(model, session, whole, key=KEY, key_env=None)
        assert (await lane.send(question_of(model), USER)).text == "ok"
        await lane.close()
    assert both.server.seen[0].agent != OURS
