"""An OpenAI-compatible server for tests and measurements: it answers, lags, breaks and counts.

In a test (a thread of this process, or its own process when its CPU must not count)::

    from tests.servers.llm import LLMServer

    with LLMServer(faults={"429": 0.02, "500": 0.02}, seed=1) as server:            # process=True
        ... Model(name="openai/any", api_base=server.base_url) ...
        server.stats()["requests"]
        server.change(status=503)      # from now on: an outage; change(status=0) ends it

From a shell (prints one JSON line with its port and URL; stops when stdin closes or after --max-seconds)::

    python tests/servers/llm.py --port 0 --latency 0.2 --faults 429=0.02,500=0.02 --labels labels.json --mistakes 0.05

What it answers, in this order:
- ``answer``: a function (request: dict) -> str (threads only).
- a judge's request (schema with `score`, or a user message with an OUTPUT section): OUTPUT compared with REFERENCE.
- ``labels``: {text: label}. The text is what ``find`` (a regex, group 1 if it has one) finds in the last user message;
  without it the whole message, its last line, or what follows the last line's first ": ". ``mistakes``: share of texts that
  get another label (always the same ones). The label goes into the schema's property ``field`` (default: the first
  enum that has it, else the first string); without a schema ``{field: label, "confidence":..., "reasoning":...}`` if
  ``field`` is given, else the bare label.
- otherwise an object that fits the schema, or ``text``.

``faults``: {name: share}. Names: a status ("429", "500", "503", "400", "401", "404"...), "quota" (429 insufficient_quota),
"too_long" (400 context_length_exceeded), "hang", "cut" (body cut short), "close" (connection closed, nothing sent),
"hangup" (a good answer, and then the connection is closed without a word), "html" (200 that is no JSON), "wrong_schema", "malformed", "empty", "unicode", "refusal", "filter", "length".
``mode``: "random" (each attempt of a request is drawn anew; the same seed gives the same draws) or "sticky" (a request that
fails always fails). ``poison``: {text: fault}, for every request whose body holds the text. ``script``: fault names, one per request in order ("ok" = none), before ``faults`` apply.
``encoding``: tokens are counted with that encoding of tiktoken, as OpenAI bills them, not by the letter (needs litellm's files).
``cached``: share of a prompt's tokens that is told as cached, for every second request. ``wordy``: free texts of an answer
have from so many to so many words, always the same for the same request, instead of a short phrase.
``cap``: a request beyond that many in flight gets 429 at once. ``retry_after``: header on 429 and 503. ``headers``: more headers, on 200 and errors. ``key``: the bearer token that is needed.
``status``: every request gets it (an outage). ``hold``: answers wait until it is false again. ``record``: keep the last 1000 request bodies in ``server.requests``.

GET /stats: requests, paid (200 answers delivered whole, HTML and cut ones excluded), repeated (a body paid more than once: each
time after the first), input_tokens, output_tokens and cached_tokens (of the paid ones), refused (by the cap), in_flight, max_in_flight,
busy_seconds (in flight, summed over time), by_status, by_fault, unknown (texts without a label), cpu_seconds (of this process),
first_request (with a text for ``find``) and last_answer (time.monotonic(), one clock for all processes of a machine; or None).
GET /repeats: for each repeated answer, when the one before it was delivered.
POST /control with JSON changes latency, jitter, faults, status, hold, cap, script, poison, mode, retry_after while it runs;
{"reset": true} starts the counters anew (what was paid is remembered).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import hashlib
import importlib.util
import json
import logging
import os
import random
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson
from aiohttp import web

__all__ = ["LLMServer", "Options"]

_JUDGED = re.compile(
    r"^(?:OUTPUT[^\n]*|TEXT TO FACT-CHECK|Text to evaluate):\n(.*?)"
    r"(?=\n\s*(?:REFERENCE|SOURCE DOCUMENTS|EVALUATION CRITERIA|QUERY|Your task|Provide|Assess)|\Z)",
    re.MULTILINE | re.DOTALL,
)
_REFERENCE = re.compile(
    r"^(?:REFERENCE|SOURCE DOCUMENTS)[^\n]*:\n(.*?)(?=\n\s*(?:EVALUATION CRITERIA|Your task|Provide|Assess)|\Z)",
    re.MULTILINE | re.DOTALL,
)
_ODD = "caf\u00e9 \u202e\u0000 \U0001f9f5\U0001f469\u200d\U0001f680 \ufeff\u2028 \ufffd ß İ"
_HTML = b"<html><head><title>502</title></head><body>Bad gateway</body></html>"
_ERRORS = {
    "quota": (429, "insufficient_quota", "You exceeded your current quota"),
    "too_long": (400, "context_length_exceeded", "This model's maximum context length is 8192 tokens"),
    "400": (400, "invalid_request", "Unknown parameter: 'frobnicate'"),
    "401": (401, "invalid_api_key", "Incorrect API key provided: {key}"),
    "404": (404, "model_not_found", "The model does not exist"),
}


@dataclass
class Options:
    """Everything a server can be told; see the top of this file. Seconds, shares in 0..1."""

    latency: float = 0.0
    jitter: float = 0.0
    cap: int | None = None
    retry_after: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    faults: dict[str, float] = field(default_factory=dict)
    script: list[str] = field(default_factory=list)
    poison: dict[str, str] = field(default_factory=dict)
    mode: str = "random"
    seed: int = 0
    status: int = 0
    hold: bool = False
    key: str | None = None
    labels: dict[str, str] | None = None
    find: str | None = None
    field: str | None = None
    mistakes: float = 0.0
    text: str = "ok"
    answer: Callable[[dict[str, Any]], str] | None = None
    record: bool = False
    encoding: str | None = None
    cached: float = 0.0
    wordy: tuple[int, int] | None = None


class LLMServer:
    """Starts and stops a server; a context manager. ``process=True`` runs it in a process of its own."""

    def __init__(
        self, *, process: bool = False, port: int = 0, max_seconds: float = 600.0, **options: Any
    ) -> None:
        self.options = Options(**options)
        self.port = port
        self._process, self._max_seconds = process, max_seconds
        self._child: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._service: _Service | None = None
        self._ready = threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The last 1000 request bodies (``record=True``, thread only)."""
        return [orjson.loads(body) for body in self._service.recorded] if self._service else []

    def start(self) -> LLMServer:
        if self._process:
            self._start_child()
        else:
            self._thread = threading.Thread(target=self._serve, name="llm-server", daemon=True)
            self._thread.start()
            self._ready.wait(10)
        return self

    def stop(self) -> None:
        if self._child is not None:
            assert self._child.stdin is not None and self._child.stdout is not None
            self._child.stdin.close()
            self._child.wait(10)
            self._child.stdout.close()
            self._child = None
        if self._thread is not None and self._loop is not None:
            assert self._service is not None
            self._loop.call_soon_threadsafe(self._service.stopped.set)
            self._thread.join(10)
            self._thread = None

    def stats(self) -> dict[str, Any]:
        if self._service is not None:
            return self._service.stats()
        return self._get("stats")  # type: ignore[no-any-return]

    def repeats(self) -> list[float]:
        """When each answer was delivered that was paid again later (``time.monotonic()``)."""
        if self._service is not None:
            return list(self._service.repeats)
        return self._get("repeats")  # type: ignore[no-any-return]

    def _get(self, what: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{what}") as reply:
            return json.loads(reply.read())

    def change(self, **options: Any) -> None:
        """Change latency, jitter, faults, script, poison, status, hold, cap, mode or retry_after from now on; or ``reset=True``."""
        if self._service is not None:
            self._service.change(options)
            return
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/control", data=json.dumps(options).encode(), method="POST"
        )
        with urllib.request.urlopen(request) as reply:
            reply.read()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self) -> None:
        async def main() -> None:
            self._service, self._loop = _Service(self.options), asyncio.get_running_loop()
            self.port = await self._service.listen(self.port)
            self._ready.set()
            await self._service.run(self._max_seconds)

        asyncio.run(main())

    def _start_child(self) -> None:
        options = {k: v for k, v in vars(self.options).items() if k != "answer"}
        command = [
            sys.executable,
            __file__,
            "--port",
            str(self.port),
            "--max-seconds",
            str(self._max_seconds),
        ]
        self._child = subprocess.Popen(
            [*command, "--options", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps(options) + "\n")
        self._child.stdin.flush()
        self.port = json.loads(self._child.stdout.readline())["port"]


class _Service:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.stopped = asyncio.Event()
        self.recorded: deque[bytes] = deque(maxlen=1000)
        self.repeats: list[float] = []
        self._seen: Counter[bytes] = Counter()
        self._delivered: dict[bytes, float] = {}  # when each body was last answered and paid
        self._in_flight = 0
        self._reset()
        self._random = random.Random(options.seed)
        self._find = re.compile(options.find) if options.find else None
        self._names = sorted(set(options.labels.values())) if options.labels else []
        self._judges: dict[str, bool] = {}

    def _reset(self) -> None:
        self._statuses: Counter[int] = Counter()
        self._faults: Counter[str] = Counter()
        self._requests = self._refused = self._unknown = 0
        self._paid = self._into = self._out = self._cached = 0
        self._max, self._busy, self._changed = self._in_flight, 0.0, time.monotonic()
        self._cpu = time.process_time()
        self._first: float | None = None
        self._last: float | None = None
        self.repeats.clear()

    async def listen(self, port: int) -> int:
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, backlog=2048)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def run(self, max_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), max_seconds)
        await self._runner.cleanup()

    def stats(self) -> dict[str, Any]:
        self._flow(0)
        return {
            "requests": self._requests,
            "paid": self._paid,
            "repeated": len(self.repeats),
            "input_tokens": self._into,
            "output_tokens": self._out,
            "cached_tokens": self._cached,
            "refused": self._refused,
            "in_flight": self._in_flight,
            "max_in_flight": self._max,
            "busy_seconds": self._busy,
            "by_status": {str(k): v for k, v in sorted(self._statuses.items())},
            "by_fault": dict(self._faults),
            "unknown": self._unknown,
            "cpu_seconds": time.process_time() - self._cpu,
            "first_request": self._first,
            "last_answer": self._last,
        }

    def change(self, options: dict[str, Any]) -> None:
        for name, value in options.items():
            if name == "reset":
                self._reset()
            else:
                setattr(self.options, name, value)

    def _flow(self, change: int) -> None:
        now = time.monotonic()
        self._busy += self._in_flight * (now - self._changed)
        self._changed = now
        self._in_flight += change
        self._max = max(self._max, self._in_flight)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/stats":
            return web.json_response(self.stats())
        if request.path == "/repeats":
            return web.json_response(self.repeats)
        if request.path == "/control":
            self.change(json.loads(await request.read()))
            return web.json_response({})
        if request.path.endswith("/models"):
            return web.json_response({"object": "list", "data": [{"id": "any", "object": "model"}]})
        came = time.monotonic()
        body = await request.read()
        self._requests += 1
        if self._first is None and (self._find is None or self._find.search(body.decode())):
            self._first = came  # what has no text to find is a client's way to ask what the model can do
        if self.options.record:
            self.recorded.append(body)
        if self.options.cap is not None and self._in_flight >= self.options.cap:
            self._refused += 1
            return self._error("429", request)
        self._flow(+1)
        try:
            return await self._complete(request, body)
        finally:
            self._flow(-1)
            self._last = self._changed

    async def _complete(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        options, identity = self.options, hashlib.blake2b(body, digest_size=16).digest()
        if options.key is not None and request.headers.get("Authorization") != f"Bearer {options.key}":
            return self._error("401", request)
        fault = self._draw(identity, body)
        if fault:
            self._faults[fault] += 1
        wait = options.latency + (options.jitter * self._random.random() if options.jitter else 0.0)
        if fault == "hang":
            wait = 3600.0
        if wait and not options.status:
            await asyncio.sleep(wait)
        while options.hold:  # noqa: ASYNC110 - it may be changed from another thread
            await asyncio.sleep(0.02)
        if options.status:
            return self._error(str(options.status), request)
        if fault.isdigit() or fault in _ERRORS:
            return self._error(fault, request)
        if fault in {"cut", "close", "html"}:
            return await self._broken(fault, request)
        payload, into, out = self._payload(orjson.loads(body), fault)
        response = web.Response(body=payload, content_type="application/json", headers=options.headers)
        await response.prepare(request)
        await response.write_eof()
        self._statuses[200] += 1
        self._paid, self._into, self._out = self._paid + 1, self._into + into, self._out + out
        if (before := self._delivered.get(identity)) is not None:
            self.repeats.append(before)
        self._delivered[identity] = time.monotonic()
        if fault == "hangup" and request.transport is not None:
            request.transport.close()
        return response

    def _draw(self, identity: bytes, body: bytes) -> str:
        options = self.options
        for text, name in options.poison.items():
            if text.encode() in body:
                return name
        if options.script:
            name = options.script.pop(0)
            return "" if name == "ok" else name
        if not options.faults:
            return ""
        attempt = 0
        if options.mode == "random":
            attempt = self._seen[identity]
            self._seen[identity] += 1
        point = _share(identity, options.seed, attempt)
        for name, share in options.faults.items():
            point -= share
            if point < 0:
                return name
        return ""

    def _error(self, name: str, request: web.BaseRequest) -> web.Response:
        status, code, message = _ERRORS.get(name) or (int(name), f"error_{name}", f"simulated {name}")
        self._statuses[status] += 1
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        error = {"message": message.format(key=key), "type": code, "code": code, "param": None}
        limited = self.options.retry_after is not None and status in {429, 503}
        headers = {
            **self.options.headers,
            **({"Retry-After": str(self.options.retry_after)} if limited else {}),
        }
        return web.Response(
            status=status,
            headers=headers,
            body=orjson.dumps({"error": error}),
            content_type="application/json",
        )

    async def _broken(self, fault: str, request: web.BaseRequest) -> web.StreamResponse:
        if fault == "html":
            self._statuses[200] += 1
            return web.Response(body=_HTML, content_type="text/html")
        response = web.StreamResponse(headers={"Content-Length": "5000", "Content-Type": "application/json"})
        if fault == "cut":
            await response.prepare(request)
            await response.write(
                b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"{\\"'
            )
        if request.transport is not None:
            request.transport.close()
        return response

    def _payload(self, request: dict[str, Any], fault: str) -> tuple[bytes, int, int]:
        """The answer, and the tokens in and out that it is billed with."""
        text, finish, refusal = self._answer(request), "stop", None
        if fault == "wrong_schema":
            text = '{"nonsense": [1, 2, 3]}'
        elif fault == "malformed":
            text = text[: max(1, len(text) // 2)] + " {oops"
        elif fault == "empty":
            text = ""
        elif fault == "unicode":
            text = _with_odd_text(text)
        elif fault == "refusal":
            text, refusal = "", "I'm sorry, I can't help with that."
        elif fault in {"length", "filter"}:
            text, finish = text[: len(text) // 2], {"length": "length", "filter": "content_filter"}[fault]
        into, out = self._billed(request, text)
        cached = int(into * self.options.cached) if into % 2 else 0
        self._cached += cached
        message = {"role": "assistant", "content": text, "refusal": refusal}
        payload = orjson.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1700000000,
                "model": request.get("model"),
                "choices": [{"index": 0, "message": message, "finish_reason": finish}],
                "usage": {
                    "prompt_tokens": into,
                    "completion_tokens": out,
                    "total_tokens": into + out,
                    "prompt_tokens_details": {"cached_tokens": cached},
                },
            }
        )
        return payload, into, out

    def _billed(self, request: dict[str, Any], text: str) -> tuple[int, int]:
        """Tokens in and out. With an encoding: 3 a message, its role, 3 for the answer's start, and the schema as what
        OpenAI is known to make of it, a type declaration in the system message."""
        if self.options.encoding is None:
            size = sum(len(m["content"]) for m in request["messages"])
            return size // 4 + 1, len(text) // 4 + 1
        count = _counter(self.options.encoding)
        into = 3 + sum(3 + count(m["role"]) + count(m["content"]) for m in request["messages"])
        schema = ((request.get("response_format") or {}).get("json_schema") or {}).get("schema")
        if schema is not None:
            into += 12 + count(json.dumps(schema))
        return into, count(text) + 1

    def _answer(self, request: dict[str, Any]) -> str:
        if self.options.answer is not None:
            return self.options.answer(request)
        user = next((m["content"] for m in reversed(request["messages"]) if m["role"] == "user"), "")
        schema = ((request.get("response_format") or {}).get("json_schema") or {}).get("schema")
        if (schema and "score" in schema.get("properties", {})) or _JUDGED.search(user):
            return _longer(_verdict(user, schema or {}), request, self.options)
        if self.options.labels is None:
            text = orjson.dumps(_fill(schema)).decode() if schema else self.options.text
            return _longer(text, request, self.options)
        label = self._label(user)
        if schema:
            return _longer(
                orjson.dumps(_fill(schema, label, self.options.field)).decode(), request, self.options
            )
        if self.options.field:
            return orjson.dumps(
                {self.options.field: label, "confidence": 0.9, "reasoning": "as labelled"}
            ).decode()
        return label

    def _label(self, user: str) -> str:
        labels = self.options.labels or {}
        for text in self._texts(user):
            label = labels.get(text)
            if label is not None:
                others = [name for name in self._names if name != label]
                point = _share(text.encode(), self.options.seed, -1)
                if others and point < self.options.mistakes:
                    return others[int(point * 1e6) % len(others)]
                return label
        self._unknown += 1
        return self._names[0] if self._names else "unknown"

    def _texts(self, user: str) -> list[str]:
        if self._find is not None:
            match = self._find.search(user)
            return [match[1 if match.lastindex else 0].strip()] if match else []
        whole = user.strip()
        last = whole.rsplit("\n", 1)[-1].strip()
        return [whole, last, last.partition(": ")[2].strip(), last.partition(": ")[2].strip().strip("\"'")]


_WORDS = [
    "the",
    "text",
    "says",
    "plainly",
    "that",
    "it",
    "was",
    "worth",
    "the",
    "time",
    "and",
    "money",
    "because",
    "every",
    "part",
    "works",
    "as",
    "one",
    "would",
    "hope",
    "although",
    "some",
    "of",
    "it",
    "seems",
    "slow",
    "unusual",
    "or",
    "disappointing",
    "at",
    "first",
    "nevertheless",
    "customers",
    "mention",
    "quality",
]


@functools.cache
def _counter(encoding: str) -> Callable[[str], int]:
    import tiktoken

    litellm = importlib.util.find_spec("litellm")  # which has the encodings' files
    assert litellm is not None and litellm.origin is not None
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm.origin).parent / "litellm_core_utils/tokenizers")
    known = tiktoken.get_encoding(encoding)
    return lambda text: len(known.encode_ordinary(text))


def _longer(text: str, request: dict[str, Any], options: Options) -> str:
    """With as many words in its free texts as ``wordy`` says, drawn by the request."""
    if options.wordy is None:
        return text
    schema = ((request.get("response_format") or {}).get("json_schema") or {}).get("schema") or {}
    draw = random.Random(orjson.dumps(request["messages"]) + bytes(options.seed))
    low, high = options.wordy
    value = json.loads(text)
    for name, part in schema.get("properties", {}).items():
        if _type(part) == "string" and "enum" not in part:
            # most answers are short, some are long
            words = low + int((high - low) * draw.random() ** 2)
            value[name] = " ".join(draw.choice(_WORDS) for _ in range(words))
    return json.dumps(value)


def _share(identity: bytes, seed: int, attempt: int) -> float:
    """A number in [0, 1) that is always the same for the same things."""
    raw = hashlib.blake2b(identity, digest_size=8, key=f"{seed}:{attempt}".encode()).digest()
    return int.from_bytes(raw, "big") / 2**64


def _with_odd_text(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text + _ODD
    if isinstance(value, dict):
        for name, part in value.items():
            if isinstance(part, str) and " " in part:
                value[name] = part + _ODD
    return json.dumps(value, ensure_ascii=True)


def _fill(schema: dict[str, Any], label: str | None = None, name: str | None = None) -> Any:
    """The smallest value that fits ``schema``, with ``label`` where it belongs."""
    properties: dict[str, Any] = schema.get("properties", {})
    if label is not None and name is None:
        fits = [n for n, p in properties.items() if label in p.get("enum", ())]
        fits += [n for n, p in properties.items() if _type(p) == "string" and "enum" not in p]
        name = fits[0] if fits else None
    value = {n: _value(p) for n, p in properties.items()}
    if name is not None and label is not None:
        value[name] = label
    return value


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "string")
    return str(next((k for k in kind if k != "null"), "null")) if isinstance(kind, list) else str(kind)


def _value(schema: dict[str, Any]) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    plain = {
        "number": 0.9,
        "integer": 1,
        "boolean": True,
        "array": [],
        "null": None,
        "string": "because the labels say so",
    }
    kind = _type(schema)
    return _fill(schema) if kind == "object" else plain[kind]


def _verdict(user: str, schema: dict[str, Any]) -> str:
    output, reference = _JUDGED.search(user), _REFERENCE.search(user)
    score, why = 0.9, "nothing to compare with"
    if output and reference and len(reference[1]) < 200:
        same = _plain(reference[1]) == _plain(output[1]) or f'"{_plain(reference[1])}"' in _plain(output[1])
        score, why = (0.95, "the same as the reference") if same else (0.1, "differs from the reference")
    verdict: dict[str, Any] = {"score": score, "confidence": 0.6, "explanation": why}
    for name, part in schema.get("properties", {}).items():
        if _type(part) == "array":
            verdict[name] = [f"{name}: {why}"]
        elif name not in verdict:
            verdict[name] = {} if _type(part) == "object" else _value(part)
    return orjson.dumps(verdict).decode()


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _pairs(text: str) -> dict[str, float]:
    return {name: float(share) for name, _, share in (p.partition("=") for p in text.split(",") if p)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server for tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--max-seconds", type=float, default=3600.0)
    parser.add_argument("--options", help="a JSON file with options, or - for one line on stdin")
    parser.add_argument("--faults", type=_pairs, help="429=0.02,500=0.02")
    parser.add_argument("--labels", type=Path, help="a JSON file {text: label}")
    for name in ("latency", "jitter", "mistakes"):
        parser.add_argument(f"--{name}", type=float)
    for name in ("cap", "seed", "status"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("retry_after", "mode", "find", "field", "text", "key"):
        parser.add_argument(f"--{name.replace('_', '-')}")
    given = {k: v for k, v in vars(parser.parse_args(arguments)).items() if v is not None}
    port, max_seconds, source = given.pop("port"), given.pop("max_seconds"), given.pop("options", None)
    options = {}
    if source is not None:
        options = json.loads(sys.stdin.readline() if source == "-" else Path(source).read_text())
    if "labels" in given:
        given["labels"] = json.loads(given["labels"].read_text())
    asyncio.run(_stand_alone(Options(**{**options, **given}), port, max_seconds))


async def _stand_alone(options: Options, port: int, max_seconds: float) -> None:
    logging.getLogger("aiohttp.server").disabled = True  # clients that are killed are what it is there for
    service, loop = _Service(options), asyncio.get_running_loop()
    port = await service.listen(port)
    print(json.dumps({"port": port, "base_url": f"http://127.0.0.1:{port}/v1"}), flush=True)  # noqa: T201 - the line a starter waits for

    def watch() -> None:
        while sys.stdin.buffer.read1(4096):
            pass
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(service.stopped.set)

    threading.Thread(target=watch, daemon=True).start()
    await service.run(max_seconds)


if __name__ == "__main__":
    main()
