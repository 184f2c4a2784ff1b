"""OpenAI's chat-completions wire format over one aiohttp session.

Spoken by OpenAI, vLLM, Ollama and most gateways. litellm is not imported: building the body and
reading the reply is a few microseconds, and a connection is kept for the next call.
Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from loom_dagster.errors import Transient
from loom_dagster.gateway.failures import Place, from_status, unreachable
from loom_dagster.gateway.lane import Reply
from loom_dagster.gateway.question import Message, Model, Question
from loom_dagster.records import Usage

__all__ = ["OpenAIWire"]


class OpenAIWire:
    """One model at one address. ``key`` goes into the header of its requests and nowhere else."""

    def __init__(
        self,
        model: Model,
        session: aiohttp.ClientSession,
        *,
        name: str,
        base: str,
        key: str | None,
        key_env: str | None,
        structured: bool,
        reasons: bool,
    ) -> None:
        """``name`` as the provider knows it; ``structured``: it takes a JSON schema; ``reasons``: it
        takes max_completion_tokens and no temperature."""
        self._session, self._structured = session, structured
        self._url = f"{base.rstrip('/')}/chat/completions"
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._place = Place(model=model.name, host=urlsplit(base).netloc, key_env=key_env, key=key)
        self._fixed: dict[str, Any] = {"model": name, **model.extra}
        if reasons:
            self._fixed["max_completion_tokens"] = model.max_tokens
        else:
            self._fixed["max_tokens"] = model.max_tokens
            if model.temperature is not None:
                self._fixed["temperature"] = model.temperature
        timeouts = model.timeouts
        self._timeout = aiohttp.ClientTimeout(
            total=timeouts.total, sock_connect=timeouts.connect, sock_read=timeouts.read
        )
        self._formats: dict[bytes, Mapping[str, Any]] = {}

    async def send(self, question: Question, messages: Sequence[Message]) -> Reply:
        """Ask once. Raises by class, see failures.py."""
        body = orjson.dumps(self._body(question, messages))
        try:
            async with self._session.post(
                self._url, data=body, headers=self._headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                content = await response.read()
                status, headers = response.status, response.headers
        except TimeoutError as error:
            raise Transient(f"{self._place} did not answer in time", kind="timeout") from error
        except aiohttp.ClientPayloadError as error:
            raise Transient(f"{self._place} cut its answer short", kind="bad_body") from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise unreachable(self._place, error) from error
        if status != 200:
            raise from_status(self._place, status, content, headers)
        return self._reply(content)

    def _body(self, question: Question, messages: Sequence[Message]) -> Mapping[str, Any]:
        body = {**self._fixed, "messages": list(messages)}
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

    def _reply(self, content: bytes) -> Reply:
        try:
            document = orjson.loads(content)
            choice = document["choices"][0]
            message = choice["message"]
            usage = document.get("usage") or {}
            text, refusal = message.get("content"), message.get("refusal")
            finish = "refused" if refusal else choice.get("finish_reason") or "stop"
            return Reply(
                text=_text(refusal or text),
                finish=str(finish),
                usage=Usage(
                    input_tokens=int(usage.get("prompt_tokens") or 0),
                    output_tokens=int(usage.get("completion_tokens") or 0),
                    cached_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
                ),
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            started = content[:80].decode("utf-8", "replace")
            raise Transient(
                f"{self._place} answered 200 with something that is no completion",
                why=self._place.scrub(started) or "an empty body",
                kind="bad_body",
            ) from error


def _text(content: object) -> str:
    """A text, or the texts of a list of parts; nothing is an empty answer."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(p.get("text") or "") for p in content if isinstance(p, dict))
    raise TypeError(type(content).__name__)
