"""A server that speaks OpenAI's files and batches, and Anthropic's message batches: for tests and measurements.

    with BatchServer(answer=lambda body: "...") as server:          # a thread of this process
        ... api_base = server.base_url (OpenAI) or server.url (Anthropic) ...
        server.finish()               # every batch that was made has ended
        server.stats()["paid"]

It also answers /chat/completions and /v1/messages, so that a judge and whatever is asked at once have somebody to ask.

``answer``: (request body) -> text. ``text``: else what is said. ``auto``: a batch ends after so many looks at it
(None: not before ``finish``). ``per_line``: {text in a line: fault}; faults: "400", "429", "500", "too_long", "expired",
"never" (the line is in no file, and was paid for), "refusal", "length", "malformed", "twice" (the line comes twice).
``faults``: {"upload"|"create"|"look"|"results"|"list": [status or "lost" or "close", ...]}, used up one by one: a status
is sent instead of the thing being done; "lost": it is done, and the connection is closed instead of an answer; "close":
nothing is done. ``kill``: {"upload"|"create"|...|"online": function}: it is called when such a request was done, instead
of an answer; ``halfway``: it is called when half of the results are sent, until it says True. ``end_as``: "completed", "expired", "cancelled" or "failed" for the next ones that end. ``done_share``: how many
lines of an expired or cancelled batch were answered.

stats(): batches, uploads, requests by kind, lines (in batches), paid (lines answered, never-given ones among them),
repeated (a body that was paid before, online or in a batch), online (answers at once), input_tokens, output_tokens,
cost at ``price`` (input, output; USD a token; batches at half).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

import orjson
from aiohttp import web

__all__ = ["BatchServer"]

_ERRORS = {
    "400": (400, "invalid_request_error", "Unknown parameter: 'frobnicate'"),
    "429": (429, "rate_limit_error", "too many requests"),
    "500": (500, "server_error", "it broke"),
    "too_long": (400, "context_length_exceeded", "This model's maximum context length is 8192 tokens"),
}
_FINISH = {"length": "length", "refusal": "stop"}


class BatchServer:
    """See the top of this file."""

    def __init__(self, **options: Any) -> None:
        self.answer: Callable[[dict[str, Any]], str] | None = options.pop("answer", None)
        self.text: str = options.pop("text", '{"sentiment": "positive"}')
        self.auto: int | None = options.pop("auto", None)
        self.per_line: dict[str, str] = options.pop("per_line", {})
        self.faults: dict[str, list[Any]] = options.pop("faults", {})
        self.kill: dict[str, Callable[[], None]] = options.pop("kill", {})
        self.halfway: Callable[[], bool] | None = options.pop("halfway", None)
        self.end_as: str = options.pop("end_as", "completed")
        self.done_share: float = options.pop("done_share", 0.5)
        self.price: tuple[float, float] = options.pop("price", (1e-6, 2e-6))
        self.has_batches: bool = options.pop("has_batches", True)
        if options:
            raise TypeError(f"unknown: {options}")
        self.port = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.bodies: list[dict[str, Any]] = []  # asked online
        self.counts: Counter[str] = Counter()
        self.cost = 0.0
        self._seen: Counter[bytes] = Counter()
        self._lock = threading.RLock()
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._serve, name="batch-server", daemon=True)
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        if self._thread is not None:
            self._thread.join(10)

    def finish(self, state: str | None = None) -> None:
        """Every batch that was made and has not ended, ends."""
        with self._lock:
            for batch in self.batches.values():
                if not batch["ended"]:
                    self._end(batch, state or self.end_as)

    def lines(self, number: int = -1) -> list[dict[str, Any]]:
        """What was asked in a batch."""
        with self._lock:
            return list(self.batches.values())[number]["lines"]

    def stats(self) -> dict[str, Any]:
        with self._lock:
            return {**self.counts, "batches": len(self.batches), "cost": self.cost}

    # --- the server

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)

        async def main() -> None:
            self._stopped = asyncio.Event()
            logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
            app = web.Application(client_max_size=512 * 1024 * 1024)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            self._ready.set()
            await self._stopped.wait()
            await runner.cleanup()

        self._loop.run_until_complete(main())
        self._loop.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/v1")
        if path == "/chat/completions" or path == "/messages":
            return await self._online(request, anthropic=path == "/messages")
        kind, work = self._what(request, path)
        if kind is None or not self.has_batches:
            return web.json_response({"error": {"message": "no such thing", "type": "not_found"}}, status=404)
        self.counts[kind] += 1
        fault = self.faults[kind].pop(0) if self.faults.get(kind) else None
        if fault == "close":
            return self._hang_up(request)
        if isinstance(fault, int):
            return web.json_response({"error": {"message": "no", "type": "server_error"}}, status=fault)
        answer = await work()
        if kind in self.kill:
            self.kill.pop(kind)()
            return self._hang_up(request)
        return self._hang_up(request) if fault == "lost" else answer

    def _hang_up(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _what(self, request: web.Request, path: str) -> tuple[str | None, Any]:
        parts = [p for p in path.split("/") if p]
        anthropic = parts[:1] == ["messages"]
        rest = parts[1:] if anthropic else parts
        post = request.method == "POST"
        match rest:
            case ["files"] if post:
                return "upload", lambda: self._upload(request)
            case ["files", id_, "content"]:
                return "results", lambda: self._content(request, id_)
            case ["batches"] if post:
                return "create", lambda: self._create(request, anthropic)
            case ["batches"]:
                return "list", lambda: self._list(request, anthropic)
            case ["batches", id_, "cancel"] if post:
                return "cancel", lambda: self._cancel(id_)
            case ["batches", id_, "results"]:
                return "results", lambda: self._content(request, f"{id_}-results")
            case ["batches", id_]:
                return "look", lambda: self._look(id_)
        return None, None

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        with self._lock:
            id_ = f"file-{len(self.files)}"
            self.files[id_] = form["file"].file.read()  # type: ignore[union-attr]
        return web.json_response({"id": id_, "object": "file", "purpose": "batch"})

    async def _create(self, request: web.Request, anthropic: bool) -> web.Response:
        said = orjson.loads(await request.read())
        if anthropic:
            lines = [{"custom_id": r["custom_id"], "body": r["params"]} for r in said["requests"]]
        else:
            assert said["completion_window"] == "24h" and said["endpoint"] == "/v1/chat/completions"
            lines = [orjson.loads(line) for line in self.files[said["input_file_id"]].splitlines()]
            assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
        assert len({line["custom_id"] for line in lines}) == len(lines)
        with self._lock:
            id_ = f"{'msgbatch' if anthropic else 'batch'}_{len(self.batches)}"
            self.batches[id_] = batch = {
                "id": id_,
                "anthropic": anthropic,
                "lines": lines,
                "metadata": said.get("metadata"),
                "created": time.time(),
                "state": "in_progress" if anthropic else "validating",
                "looks": 0,
                "ended": False,
                "done": 0,
                "failed": 0,
                "left": 0,
                "cancelling": False,
            }
            self.counts["lines"] += len(lines)
        return web.json_response(self._shown(batch))

    async def _list(self, request: web.Request, anthropic: bool) -> web.Response:
        with self._lock:
            found = [b for b in reversed(self.batches.values()) if b["anthropic"] == anthropic]
        after = request.query.get("after_id" if anthropic else "after")
        if after:
            ids = [b["id"] for b in found]
            found = found[ids.index(after) + 1 :]
        limit = int(request.query.get("limit", "20"))
        page = found[:limit]
        return web.json_response(
            {"data": [self._shown(b) for b in page], "has_more": len(found) > len(page), "object": "list"}
        )

    async def _look(self, id_: str) -> web.Response:
        with self._lock:
            batch = self.batches.get(id_)
            if batch is None:
                return web.json_response({"error": {"message": "no such batch"}}, status=404)
            batch["looks"] += 1
            if not batch["ended"]:
                if batch["cancelling"]:
                    self._end(batch, "cancelled")
                elif self.auto is not None and batch["looks"] > self.auto:
                    self._end(batch, self.end_as)
                elif not batch["anthropic"]:
                    batch["state"] = "in_progress" if batch["looks"] < 3 else "finalizing"
            return web.json_response(self._shown(batch))

    async def _cancel(self, id_: str) -> web.Response:
        with self._lock:
            batch = self.batches[id_]
            batch["cancelling"] = True
            batch["state"] = "canceling" if batch["anthropic"] else "cancelling"
            return web.json_response(self._shown(batch))

    async def _content(self, request: web.Request, id_: str) -> web.StreamResponse:
        if self.halfway is not None:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(self.files[id_][: len(self.files[id_]) // 2])
            while not self.halfway():  # noqa: ASYNC110 - a test's own condition, of another process
                await asyncio.sleep(0.01)
            self.halfway = None
            return self._hang_up(request)
        return web.Response(body=self.files[id_], content_type="application/x-jsonlines")

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        total = len(batch["lines"])
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(batch["created"]))
        if batch["anthropic"]:
            left, cancelled = batch["left"], batch["state"] == "cancelled"
            return {
                "id": batch["id"],
                "type": "message_batch",
                "processing_status": "ended" if batch["ended"] else batch["state"],
                "request_counts": {
                    "processing": 0 if batch["ended"] else total,
                    "succeeded": batch["done"],
                    "errored": batch["failed"],
                    "canceled": left if cancelled else 0,
                    "expired": 0 if cancelled else left,
                },
                "created_at": made,
                "results_url": f"{self.url}/v1/messages/batches/{batch['id']}/results"
                if batch["ended"]
                else None,
            }
        shown = {
            "id": batch["id"],
            "object": "batch",
            "status": batch["state"],
            "created_at": int(batch["created"]),
            "metadata": batch["metadata"],
            "request_counts": {"total": total, "completed": batch["done"], "failed": batch["failed"]},
            "errors": None,
            "output_file_id": None,
            "error_file_id": None,
        }
        if batch["state"] == "failed":
            shown["errors"] = {"data": [{"code": "invalid", "message": "the file has an invalid line"}]}
        for name in ("output", "error"):
            if f"{batch['id']}-{name}" in self.files:
                shown[f"{name}_file_id"] = f"{batch['id']}-{name}"
        return shown

    # --- answers

    def _end(self, batch: dict[str, Any], state: str) -> None:
        batch["ended"], batch["state"] = True, state
        if state == "failed":
            return
        lines = list(batch["lines"])
        random.Random(len(lines)).shuffle(lines)  # in any order
        answered = len(lines) if state == "completed" else int(len(lines) * self.done_share)
        good: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            text = json.dumps(line["body"])
            fault = next((f for needle, f in self.per_line.items() if needle in text), None)
            if number >= answered or fault == "expired":
                batch["left"] += 1
                bad.append(self._left(batch, line, "cancelled" if state == "cancelled" else "expired"))
            elif fault in _ERRORS:
                batch["failed"] += 1
                bad.append(self._failed(batch, line, _ERRORS[fault]))
            else:
                batch["done"] += 1
                said = self._answered(line["body"], fault, anthropic=batch["anthropic"], half=True)
                if fault != "never":
                    good += [self._line(batch, line, said)] * (2 if fault == "twice" else 1)
        if batch["anthropic"]:
            self.files[f"{batch['id']}-results"] = _jsonl(sorted(good + bad, key=lambda r: r["custom_id"]))
            return
        for name, some in (("output", good), ("error", bad)):
            if some:
                self.files[f"{batch['id']}-{name}"] = _jsonl(some)

    def _line(self, batch: dict[str, Any], line: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
        if batch["anthropic"]:
            return {"custom_id": line["custom_id"], "result": {"type": "succeeded", "message": said}}
        response = {"status_code": 200, "request_id": "r", "body": said}
        return {"id": "x", "custom_id": line["custom_id"], "response": response, "error": None}

    def _left(self, batch: dict[str, Any], line: dict[str, Any], why: str) -> dict[str, Any]:
        if batch["anthropic"]:
            kind = "canceled" if why == "cancelled" else "expired"
            return {"custom_id": line["custom_id"], "result": {"type": kind}}
        error = {"code": f"batch_{why}", "message": "This request could not be executed"}
        return {"id": "x", "custom_id": line["custom_id"], "response": None, "error": error}

    def _failed(
        self, batch: dict[str, Any], line: dict[str, Any], error: tuple[int, str, str]
    ) -> dict[str, Any]:
        status, kind, message = error
        if batch["anthropic"]:
            kind = {400: "invalid_request_error", 429: "rate_limit_error"}.get(status, "api_error")
            inner = {"type": "error", "error": {"type": kind, "message": message}}
            return {"custom_id": line["custom_id"], "result": {"type": "errored", "error": inner}}
        body = {"error": {"message": message, "code": kind, "type": kind}}
        response = {"status_code": status, "request_id": "r", "body": body}
        return {"id": "x", "custom_id": line["custom_id"], "response": response, "error": None}

    def _answered(
        self, body: dict[str, Any], fault: str | None, *, anthropic: bool, half: bool
    ) -> dict[str, Any]:
        text = self.answer(body) if self.answer is not None else self.text
        if fault == "malformed":
            text = "I would say it is {"
        into, out = 20 + len(json.dumps(body["messages"])) // 4, max(1, len(text) // 4)
        with self._lock:
            digest = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()
            self._seen[digest] += 1
            self.counts["paid"] += 1
            self.counts["repeated"] += self._seen[digest] > 1
            self.counts["input_tokens"] += into
            self.counts["output_tokens"] += out
            self.cost += (into * self.price[0] + out * self.price[1]) * (0.5 if half else 1.0)
        if anthropic:
            return _message(body, text, into, out, fault)
        return _completion(text, into, out, fault)

    async def _online(self, request: web.Request, *, anthropic: bool) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        with self._lock:
            self.counts["online"] += 1
            self.bodies.append(body)
        if "online" in self.kill:
            self.kill.pop("online")()
            return self._hang_up(request)
        return web.json_response(self._answered(body, None, anthropic=anthropic, half=False))


def _completion(text: str, into: int, out: int, fault: str | None) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if fault == "refusal":
        message = {"role": "assistant", "content": None, "refusal": "I will not"}
    finish = _FINISH.get(fault or "", "stop")
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": into, "completion_tokens": out, "total_tokens": into + out},
    }


def _message(body: dict[str, Any], text: str, into: int, out: int, fault: str | None) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    reason = {"length": "max_tokens", "refusal": "refusal"}.get(fault or "", "end_turn")
    if body.get("tools"):
        content = [
            {"type": "tool_use", "id": "t", "name": body["tools"][0]["name"], "input": orjson.loads(text)}
        ]
        reason = "tool_use"
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": into, "output_tokens": out},
    }


def _jsonl(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)
