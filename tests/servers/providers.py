"""A server that speaks the formats of several providers and writes down what it is sent.

In a test::

    from tests.servers.providers import ProviderServer, Said

    with ProviderServer() as server:
        server.says("anthropic", Said(text="hi"))             # from now on
        server.fails(429, {"error": ...}, {"Retry-After": "3"})  # from now on; says() ends it
        server.seen                                          # every request since the last seen.clear()
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import orjson
from aiohttp import web

__all__ = ["FORMATS", "ProviderServer", "Said", "Seen"]

# what a connection has to say for itself, not the request
_TRANSPORT = {"accept", "accept-encoding", "connection", "content-length", "host", "user-agent"}


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the model says. ``finish``: stop, length, filter or refusal. ``tool``: the text comes as the
    arguments of a tool that had to be called. ``thought``: tokens and text nobody asked for."""

    text: str = "ok"
    finish: str = "stop"
    into: int = 20
    out: int = 5
    cached: int = 0
    thought: int = 0
    tool: bool = False


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request. ``headers`` without those of the connection; ``agent`` is who sent it."""

    method: str
    path: str
    headers: Mapping[str, str]
    agent: str
    body: Any


def _openai(said: Said, model: str) -> dict[str, Any]:
    refused = said.finish == "refusal"
    message: dict[str, Any] = {"role": "assistant", "content": None if refused or said.tool else said.text}
    if refused:
        message["refusal"] = said.text
    if said.tool:
        call = {"name": "json_tool_call", "arguments": said.text}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": call}]
    if said.thought:
        message["reasoning_content"] = "let me think"
    finish = {"filter": "content_filter", "refusal": "stop"}.get(said.finish, said.finish)
    usage: dict[str, Any] = {
        "prompt_tokens": said.into,
        "completion_tokens": said.out,
        "total_tokens": said.into + said.out,
        "prompt_tokens_details": {"cached_tokens": said.cached},
    }
    if said.thought:
        usage["completion_tokens_details"] = {"reasoning_tokens": said.thought}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if said.tool else finish}],
        "usage": usage,
    }


def _deepseek(said: Said, model: str) -> dict[str, Any]:
    document = _openai(said, model)
    usage = document["usage"]
    del usage["prompt_tokens_details"]
    usage["prompt_cache_hit_tokens"] = said.cached
    usage["prompt_cache_miss_tokens"] = said.into - said.cached
    return document


def _mistral(said: Said, model: str) -> dict[str, Any]:
    document = _openai(said, model)
    message = document["choices"][0]["message"]
    if said.thought:
        message.pop("reasoning_content")
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "let me think"}]}
        message["content"] = [thinking, {"type": "text", "text": said.text}]
    return document


def _groq(said: Said, model: str) -> dict[str, Any]:
    plain = replace(said, finish="stop") if said.finish == "refusal" else said  # it has no word for a refusal
    return {**_openai(plain, model), "service_tier": "on_demand"}


def _xai(said: Said, model: str) -> dict[str, Any]:
    document = _openai(said, model)
    # what it thought is not among the completion tokens, but in the total
    document["usage"]["total_tokens"] += said.thought
    return document


def _openrouter(said: Said, model: str) -> dict[str, Any]:
    document = _openai(said, model)
    document["provider"] = "OpenAI"
    document["usage"]["cost"] = 0.00001
    return document


def _anthropic(said: Said, model: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": said.text}]
    if said.tool:
        content = [
            {"type": "tool_use", "id": "toolu_1", "name": "json_tool_call", "input": orjson.loads(said.text)}
        ]
    if said.thought:
        content.insert(0, {"type": "thinking", "thinking": "let me think", "signature": "c2ln"})
    finish = {"stop": "end_turn", "length": "max_tokens", "filter": "refusal", "refusal": "refusal"}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": "tool_use" if said.tool else finish[said.finish],
        "stop_sequence": None,
        "usage": {
            "input_tokens": said.into - said.cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": said.cached,
            "output_tokens": said.out,
        },
    }


def _gemini(said: Said, model: str) -> dict[str, Any]:
    finish = {"stop": "STOP", "length": "MAX_TOKENS", "filter": "SAFETY", "refusal": "PROHIBITED_CONTENT"}
    parts = [{"text": said.text}]
    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": parts},
        "finishReason": finish[said.finish],
        "index": 0,
    }
    if said.finish in {"filter", "refusal"}:
        del candidate["content"]
    usage: dict[str, Any] = {
        "promptTokenCount": said.into,
        "candidatesTokenCount": said.out,
        "totalTokenCount": said.into + said.out + said.thought,
    }
    if said.cached:
        usage["cachedContentTokenCount"] = said.cached
    if said.thought:
        usage["thoughtsTokenCount"] = said.thought
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, "responseId": "r1"}


def _ollama(said: Said, model: str) -> dict[str, Any]:
    return {
        **_ollama_end(said, model),
        "message": {"role": "assistant", "content": said.text}
        | ({"thinking": "let me think"} if said.thought else {}),
    }


def _ollama_generate(said: Said, model: str) -> dict[str, Any]:
    return {**_ollama_end(said, model), "response": said.text}


def _ollama_end(said: Said, model: str) -> dict[str, Any]:
    counts = {"eval_count": said.out}
    if not said.cached:  # a prompt that it had cached is not counted
        counts["prompt_eval_count"] = said.into
    done = "length" if said.finish == "length" else "stop"
    return {"model": model, "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": done, **counts}


FORMATS: Mapping[str, Callable[[Said, str], dict[str, Any]]] = {
    "openai": _openai,
    "deepseek": _deepseek,
    "mistral": _mistral,
    "groq": _groq,
    "xai": _xai,
    "openrouter": _openrouter,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "ollama": _ollama,
    "ollama_generate": _ollama_generate,
}


class ProviderServer:
    """Starts and stops a server in a thread; a context manager. ``record``: keep what was ``seen``."""

    def __init__(self, *, record: bool = True) -> None:
        self.port = 0
        self._record = record
        self.seen: list[Seen] = []
        self._status, self._headers, self._content = 200, {}, b"{}"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="provider-server", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(
        self, form: str, said: Said, *, model: str = "m", headers: Mapping[str, str] | None = None
    ) -> None:
        """Every request gets this answer from now on."""
        self.answers(200, orjson.dumps(FORMATS[form](said, model)), headers)

    def fails(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Every request gets this error from now on."""
        self.answers(status, orjson.dumps(body), headers)

    def answers(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Every request gets this from now on."""
        self._status, self._content, self._headers = status, content, dict(headers or {})

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def _serve(self) -> None:
        async def main() -> None:
            self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
            runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = int(runner.addresses[0][1])
            self._ready.set()
            await self._stopped.wait()
            await runner.cleanup()

        asyncio.run(main())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        content = await request.read()
        if self._record:
            self._note(request, content)
        return web.Response(
            status=self._status, body=self._content, headers=self._headers, content_type="application/json"
        )

    def _note(self, request: web.BaseRequest, content: bytes) -> None:
        headers = {
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower() not in _TRANSPORT and not name.lower().startswith("x-stainless")
        }
        self.seen.append(
            Seen(
                method=request.method,
                path=request.path_qs,
                headers=headers,
                agent=request.headers.get("User-Agent", ""),
                body=orjson.loads(content),
            )
        )
