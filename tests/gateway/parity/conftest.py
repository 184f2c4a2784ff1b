"""Asks the same question through a lane of ours and through litellm's own completion."""

from __future__ import annotations

from typing import Any

import pytest

from loom_dagster.gateway import AnswerSchema, Model, Origin, PriceBook, Question
from loom_dagster.gateway.connection import make_session
from loom_dagster.gateway.lane import Reply
from loom_dagster.gateway.lanes import lane_for
from loom_dagster.gateway.litellm_lane import import_litellm
from tests.servers.providers import ProviderServer

BOOK = PriceBook.load()
KEY = "sk-very-secret-key"
USER = [{"role": "user", "content": "hello"}]


def question_of(model: Model, messages: Any = USER, schema: AnswerSchema | None = None) -> Question:
    origin = Origin(pipeline="p", record_id="1", purpose="transform")
    return Question(model=model, messages=messages, origin=origin, schema=schema)


class Both:
    """One server, asked by both. ``environ`` and what litellm is told hold the same key."""

    def __init__(self, server: ProviderServer, session: Any):
        self.server, self._session = server, session
        self._lanes: dict[int, tuple[Model, Any]] = {}

    async def ours(self, model: Model, messages: Any = USER, schema: AnswerSchema | None = None) -> Reply:
        return await self.lane(model).send(question_of(model, messages, schema), messages)

    def lane(self, model: Model) -> Any:
        known = self._lanes.get(id(model))
        if known is None:
            lane = lane_for(model, BOOK, {"THE_KEY": KEY}, lambda: self._session)
            known = self._lanes[id(model)] = (model, lane)
        return known[1]

    async def theirs(
        self,
        model: Model,
        messages: Any = USER,
        schema: AnswerSchema | None = None,
        known_as: str | None = None,
    ) -> Any:
        litellm = import_litellm()
        arguments = {
            "model": known_as or model.name,
            "messages": [dict(m) for m in messages],
            "max_tokens": model.max_tokens,
            "temperature": model.temperature,
            "api_base": model.api_base,
            "api_key": KEY,
            "drop_params": True,
            "max_retries": 0,
            **model.extra,
        }
        if schema is not None:
            arguments["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": schema.name, "schema": dict(schema.body), "strict": schema.strict},
            }
        try:
            return await litellm.acompletion(**arguments)
        finally:
            await litellm.close_litellm_async_clients()
            litellm.in_memory_llm_clients_cache.flush_cache()  # it would give closed ones to the next test

    async def close(self) -> None:
        for _, lane in self._lanes.values():
            if hasattr(lane, "close"):
                await lane.close()


@pytest.fixture(scope="session")
def provider_server():
    with ProviderServer() as running:
        yield running


@pytest.fixture
async def both(provider_server):
    provider_server.seen.clear()
    async with make_session() as session:
        both = Both(provider_server, session)
        yield both
        await both.close()
