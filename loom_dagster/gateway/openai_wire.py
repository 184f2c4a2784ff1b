"""OpenAI's chat-completions wire format over one aiohttp session.

Spoken by OpenAI, vLLM, Ollama and most gateways. litellm is not imported: building the body and
reading the reply is a few microseconds, and a connection is kept for the next call.
Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import orjson
from yarl import URL

from loom_dagster.errors import LoomError, Misconfigured, Transient
from loom_dagster.gateway.failures import Place, from_status, maybe_paid, unreachable
from loom_dagster.gateway.lane import Reply
from loom_dagster.gateway.question import Message, Model, Question
from loom_dagster.records import Usage

__all__ = ["OpenAIWire", "make_session"]

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def make_session() -> aiohttp.ClientSession:
    """One for all models. It bounds no connections: the limiters of the endpoints do."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=60.0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "loom-dagster"},
    )


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
        self._url = URL(f"{base.rstrip('/').removesuffix('/chat/completions')}/chat/completions")
        self._proxy = _proxy_for(self._url)
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._place = Place(
            model=model.name, host=self._url.host_port_subcomponent or base, key_env=key_env, key=key
        )
        extra = {k: v for k, v in model.extra.items() if v is not None}
        self._fixed: dict[str, Any] = {"model": name, **extra}
        if reasons:
            self._fixed.pop("top_p", None)
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
            status, headers, content = await self._post(body)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise self._failed(error) from None  # the chain would hold the request with its key
        if status != 200:
            raise from_status(self._place, status, content, headers)
        reply = self._reply(content)
        reply.headers = headers
        return reply

    async def _post(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        for again in (True, False):
            try:
                async with self._session.post(
                    self._url,
                    data=body,
                    headers=self._headers,
                    timeout=self._timeout,
                    proxy=self._proxy,
                    allow_redirects=False,
                ) as response:
                    return response.status, response.headers, await response.read()
            except aiohttp.ClientConnectionResetError:
                if not again:  # once: a kept connection that the other side had closed, nothing was sent
                    raise
        raise AssertionError("unreachable")

    def _failed(self, error: Exception) -> LoomError:
        place = self._place
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return unreachable(place, error, kind="timeout")
        if isinstance(error, TimeoutError):
            return maybe_paid(Transient(f"{place} did not answer in time", kind="timeout"))
        if isinstance(error, aiohttp.ClientPayloadError):
            return maybe_paid(Transient(f"{place} cut its answer short", kind="bad_body"))
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL | ValueError):
            why = place.scrub(str(error))
            return Misconfigured(f"{place} cannot be asked", why=why, fix="check `api_base`")
        lost = unreachable(place, error)
        return lost if isinstance(error, aiohttp.ClientConnectorError) else maybe_paid(lost)

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
            document = _parsed(content)
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
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise self._senseless(content) from None

    def _senseless(self, content: bytes) -> LoomError:
        """200, but no completion: a web page, half a body, or an error in disguise (OpenRouter's way)."""
        try:
            code = orjson.loads(content)["error"]["code"]
        except (ValueError, LookupError, TypeError):
            code = None
        if isinstance(code, int) and 400 <= code < 600:
            return from_status(self._place, code, content, {})
        return maybe_paid(
            Transient(
                f"{self._place} answered 200 with something that is no completion",
                why=self._place.scrub(content[:80].decode("utf-8", "replace")) or "an empty body",
                kind="bad_body",
            )
        )


def _proxy_for(url: URL) -> str | None:
    """The environment's proxy for ``url``, looked up once instead of with every call."""
    host = url.host or ""
    if host in _LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(url.scheme)


def _parsed(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        # half a surrogate pair is legal in JSON's escapes and no text: it becomes a question mark
        document = json.loads(content)
        return orjson.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))


def _text(content: object) -> str:
    """A text, or the texts of a list of parts; nothing is an empty answer."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(p.get("text") or "") for p in content if isinstance(p, dict))
    raise TypeError(type(content).__name__)
