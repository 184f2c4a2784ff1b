"""litellm's provider configurations over our own connections: its words, without what surrounds them.

A configuration turns messages into a provider's request and the answer back (0.2 ms); litellm's completion
does much else (5 ms). Address, headers and parameters are the same for all calls with one model and
schema, so litellm is asked for them once, before the first such call. It also proves the shortcut: the
body that the configuration gives has to be the one that litellm's own completion would send, and the
first answer has to read the same both ways. Where they differ (another version of litellm, a model with
a way of its own) the model goes through litellm as a whole.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
import orjson

from loom_dagster.errors import Misconfigured
from loom_dagster.gateway.connection import Connection, parsed
from loom_dagster.gateway.lane import BatchRequest, Reply
from loom_dagster.gateway.litellm_lane import LiteLLM, import_litellm, reply_of
from loom_dagster.gateway.question import Message, Model, Question
from loom_dagster.gateway.rehearsal import answer_to, request_of

__all__ = ["ConfigLane"]

_FEATURES = {"anthropic-version", "anthropic-beta"}  # headers that say what a request may hold


class ConfigLane:
    """One model. ``whole`` is litellm as a whole, for what cannot be proven."""

    def __init__(
        self,
        model: Model,
        session: aiohttp.ClientSession,
        whole: LiteLLM,
        *,
        key: str | None,
        key_env: str | None,
    ) -> None:
        self._model, self._session, self._whole = model, session, whole
        self._key, self._key_env = key, key_env
        self._shortcuts: dict[bytes, _Shortcut | None] = {}
        self._learning = asyncio.Lock()

    async def close(self) -> None:
        """Close what litellm opened."""
        await self._whole.close()

    async def send(self, question: Question, messages: Sequence[Message]) -> Reply:
        """Ask once. Raises by class, see failures.py."""
        shortcut = await self._shortcut(question, messages)
        if shortcut is None:
            return await self._whole.send(question, messages)
        body = shortcut.body(messages)
        content, headers = await shortcut.connection.post(orjson.dumps(body))
        reply = await self._read(shortcut, question, messages, body, content)
        reply.headers = headers
        return reply

    async def batch_request(self, question: Question, messages: Sequence[Message]) -> BatchRequest:
        """The body that would be sent online. Raises Misconfigured where litellm has a way of its own."""
        shortcut = await self._shortcut(question, messages)
        if shortcut is None:
            raise _no_batches(self._model)
        return BatchRequest(
            url=shortcut.connection.url, headers=shortcut.features, body=shortcut.body(messages)
        )

    async def batch_reply(self, question: Question, content: bytes) -> Reply:
        """Read as an answer online is."""
        shortcut = await self._shortcut(question, question.messages)
        if shortcut is None:
            raise _no_batches(self._model)
        body = shortcut.body(question.messages)
        return await self._read(shortcut, question, question.messages, body, content)

    async def _read(
        self,
        shortcut: _Shortcut,
        question: Question,
        messages: Sequence[Message],
        body: Any,
        content: bytes,
    ) -> Reply:
        reply = shortcut.read(content, messages, body)
        if reply is None or not shortcut.proven:
            return await self._proven(shortcut, question, messages, content, reply)
        return reply

    async def _shortcut(self, question: Question, messages: Sequence[Message]) -> _Shortcut | None:
        schema = _schema(question)
        if schema not in self._shortcuts:
            async with self._learning:
                if schema not in self._shortcuts:
                    self._shortcuts[schema] = await self._learned(question, messages)
        return self._shortcuts[schema]

    async def _learned(self, question: Question, messages: Sequence[Message]) -> _Shortcut | None:
        arguments = self._whole.arguments(question, messages)
        request = await asyncio.to_thread(request_of, arguments)
        if request is None:
            return None
        connection = Connection(
            self._model,
            self._session,
            url=request.url,
            headers=request.headers,
            key=self._key,
            key_env=self._key_env,
        )
        try:
            shortcut = _Shortcut(connection, arguments, request.headers)
            same: bool = shortcut.body(messages) == request.body
        except Exception:  # noqa: BLE001 - another version of litellm: it is asked as a whole
            return None
        return shortcut if same else None

    async def _proven(
        self,
        shortcut: _Shortcut,
        question: Question,
        messages: Sequence[Message],
        content: bytes,
        ours: Reply | None,
    ) -> Reply:
        """What litellm as a whole reads in ``content``."""
        try:
            answer = await asyncio.to_thread(answer_to, self._whole.arguments(question, messages), content)
            theirs = reply_of(answer)
        except Exception:  # noqa: BLE001 - whatever litellm makes of something that is no completion
            raise shortcut.connection.senseless(content) from None
        if ours == theirs:
            shortcut.proven = True
        else:
            self._shortcuts[_schema(question)] = None
        return theirs


def _schema(question: Question) -> bytes:
    return question.schema.digest if question.schema is not None else b""


def _no_batches(model: Model) -> Misconfigured:
    return Misconfigured(
        f"questions to {model.name} cannot go in batches",
        why="the installed litellm asks it in a way of its own",
        fix="take `transform.mode: online`",
    )


class _Shortcut:
    """For one model and schema. ``proven`` once an answer was read as litellm reads it."""

    def __init__(
        self, connection: Connection, arguments: Mapping[str, Any], headers: Mapping[str, str]
    ) -> None:
        litellm = import_litellm()
        self.connection, self.proven = connection, False
        self.features = {k: v for k, v in headers.items() if k.lower() in _FEATURES}
        self._new_response: Callable[[], Any] = litellm.ModelResponse
        self._model, self._provider, _, _ = litellm.get_llm_provider(arguments["model"])
        self._config = litellm.ProviderConfigManager.get_provider_chat_config(
            model=self._model, provider=litellm.LlmProviders(self._provider)
        )
        ours = ("model", "messages", "api_base", "api_key", "num_retries", "max_retries", "timeout")
        mapped = litellm.get_optional_params(
            model=self._model,
            custom_llm_provider=self._provider,
            messages=arguments["messages"],
            stream=None,
            **{k: v for k, v in arguments.items() if k not in ours},
        )
        self._json_mode = mapped.pop("json_mode", False)
        mapped.pop("fake_stream", None)
        if not mapped.get("extra_body"):
            mapped.pop("extra_body", None)
        self._mapped = mapped
        self._transform = self._usual
        if self._provider == "gemini":  # its configuration has no transform_request
            module: Any = importlib.import_module("litellm.llms.vertex_ai.gemini.transformation")
            self._gemini_body, self._transform = module.transform_request_body, self._gemini

    def body(self, messages: Sequence[Message]) -> Any:
        """What is sent."""
        return self._transform([dict(m) for m in messages], dict(self._mapped))

    def read(self, content: bytes, messages: Sequence[Message], body: Any) -> Reply | None:
        """What an answer with status 200 says; None when it makes no sense."""
        try:
            return reply_of(
                self._config.transform_response(
                    model=self._model,
                    raw_response=_Response(content),
                    model_response=self._new_response(),
                    logging_obj=_Silent(),
                    request_data=body,
                    messages=[dict(m) for m in messages],
                    optional_params=dict(self._mapped),
                    litellm_params={},
                    encoding=None,
                    api_key=None,
                    json_mode=self._json_mode,
                )
            )
        except Exception:  # noqa: BLE001 - whatever a configuration makes of it
            return None

    def _usual(self, messages: list[dict[str, str]], mapped: dict[str, Any]) -> Any:
        return self._config.transform_request(
            model=self._model, messages=messages, optional_params=mapped, litellm_params={}, headers={}
        )

    def _gemini(self, messages: list[dict[str, str]], mapped: dict[str, Any]) -> Any:
        return self._gemini_body(
            messages=messages,
            model=self._model,
            optional_params=mapped,
            custom_llm_provider="gemini",
            litellm_params={},
            cached_content=None,
        )


class _Response:
    """As much of an ``httpx.Response`` as configurations look at."""

    status_code = 200
    headers: Mapping[str, str] = {}

    def __init__(self, content: bytes) -> None:
        self.content = content

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        return parsed(self.content)


class _Silent:
    """In place of litellm's logging object."""

    def __init__(self) -> None:
        self.model_call_details: dict[str, Any] = {}
        self.optional_params: dict[str, Any] = {}

    def post_call(self, *_: Any, **__: Any) -> None:
        """Says nothing."""
