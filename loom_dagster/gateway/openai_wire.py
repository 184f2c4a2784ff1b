"""OpenAI's chat-completions wire format.

Spoken by OpenAI, Azure, vLLM, Groq, Mistral and most gateways. litellm is not imported: building the body
and reading the reply is a few microseconds.
Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from loom_dagster.gateway.connection import Connection, parsed
from loom_dagster.gateway.lane import BatchRequest, Reply
from loom_dagster.gateway.openai_models import Takes
from loom_dagster.gateway.question import Message, Model, Question
from loom_dagster.records import Usage

__all__ = ["OpenAIWire"]


class OpenAIWire:
    """One model at one address."""

    def __init__(
        self,
        model: Model,
        connection: Connection,
        *,
        name: str,
        structured: bool,
        takes: Takes,
        renamed: Mapping[str, str],
    ) -> None:
        """``name`` as the provider knows it; ``structured``: it takes a JSON schema; ``renamed``: its own
        words for parameters."""
        self._connection, self._structured, self._system = connection, structured, takes.system
        extra = {renamed.get(k, k): v for k, v in model.extra.items() if v is not None}
        self._fixed: dict[str, Any] = {"model": name, takes.limit: model.max_tokens, **extra}
        if not takes.sampling:
            self._fixed.pop("top_p", None)
        if model.temperature is not None and (takes.sampling or model.temperature == 1):
            self._fixed["temperature"] = model.temperature
        self._formats: dict[bytes, Mapping[str, Any]] = {}

    async def send(self, question: Question, messages: Sequence[Message]) -> Reply:
        """Ask once. Raises by class, see failures.py."""
        content, headers = await self._connection.post(orjson.dumps(self.body(question, messages)))
        return self.reply(content, headers)

    async def batch_request(self, question: Question, messages: Sequence[Message]) -> BatchRequest:
        """The body that would be sent online."""
        base = self._connection.url.removesuffix("/chat/completions")
        return BatchRequest(url=base, body=self.body(question, messages))

    async def batch_reply(self, question: Question, content: bytes) -> Reply:
        """Read as an answer online is."""
        return self.reply(content)

    def body(self, question: Question, messages: Sequence[Message]) -> Mapping[str, Any]:
        """What is sent."""
        if not self._system:
            messages = [{**m, "role": "user"} if m["role"] == "system" else m for m in messages]
        body = {**self._fixed, "messages": messages}
        schema = question.schema
        if schema is not None and self._structured:
            known = self._formats.get(schema.digest)
            if known is None:
                known = {
                    "type": "json_schema",
                    "json_schema": {"name": schema.name, "schema": schema.body, "strict": schema.strict},
                }
                self._formats[schema.digest] = known
            body["response_format"] = known
        return body

    def reply(self, content: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """What an answer with status 200 says. Raises Transient when it says nothing."""
        try:
            document = parsed(content)
            choice = document["choices"][0]
            message = choice["message"]
            text, refusal = message.get("content"), message.get("refusal")
            finish = "refused" if refusal else choice.get("finish_reason") or "stop"
            return Reply(
                text=_text(refusal or text),
                finish=str(finish),
                usage=_usage(document.get("usage") or {}),
                headers=headers,
            )
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise self._connection.senseless(content) from None


def _usage(said: Mapping[str, Any]) -> Usage:
    cached = (said.get("prompt_tokens_details") or {}).get("cached_tokens")
    if cached is None:
        cached = said.get("prompt_cache_hit_tokens")  # DeepSeek's word
    return Usage(
        input_tokens=int(said.get("prompt_tokens") or 0),
        output_tokens=int(said.get("completion_tokens") or 0),
        cached_tokens=int(cached or 0),
    )


def _text(content: object) -> str:
    """A text, or the texts of a list of parts; nothing is an empty answer."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(p.get("text") or "") for p in content if isinstance(p, dict))
    raise TypeError(type(content).__name__)
