"""Anthropic's message batches. Source: https://platform.claude.com/docs/en/api/messages/batches

A batch holds nothing that could name it, so after a crash it is found by what is known of it: it was made after ours
was meant to be, has as many questions, and is no other that the ledger knows.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from loom_dagster.errors import LoomError, Transient
from loom_dagster.gateway.batch_api import BatchLine, BatchSeen
from loom_dagster.gateway.batch_http import BatchHttp
from loom_dagster.gateway.connection import parsed
from loom_dagster.gateway.failures import from_status, maybe_paid
from loom_dagster.gateway.lane import Batchable
from loom_dagster.gateway.question import Question

__all__ = ["AnthropicBatches"]

_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "overloaded_error": 529,
}
_NOT_BEGUN = {"expired": "expired", "canceled": "cancelled"}
_COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")
_SKEW = timedelta(minutes=2)  # between their clock and ours
_PAGE = 100
_PAGES = 50


class AnthropicBatches:
    """``question`` stands for those of the batch: they have its model and schema in common."""

    def __init__(self, http: BatchHttp, url: str, lane: Batchable, question: Question) -> None:
        self._http, self._url, self._lane, self._question = http, f"{url}/batches", lane, question

    async def upload(self, path: Path, tag: str) -> str:
        """Questions come with the batch itself."""
        return ""

    async def create(self, path: Path, tag: str, file_id: str) -> BatchSeen:
        headers = {"Content-Type": "application/json"}
        async with aclosing(_body(path)) as body:
            return _seen(await self._http.json("POST", self._url, data=body, headers=headers))

    async def find(
        self, tag: str, *, since: datetime, requests: int, known: frozenset[str]
    ) -> BatchSeen | None:
        """The oldest that can be it."""
        after: Mapping[str, str] = {}
        best: BatchSeen | None = None
        for _ in range(_PAGES):
            params = {"limit": str(_PAGE), **after}
            page = await self._http.json("GET", self._url, params=params)
            found = (page.get("data") if isinstance(page, dict) else None) or []
            for each in found:
                if _made(each) < since - _SKEW:
                    return best
                seen = _seen(each)
                if seen.total == requests and seen.id not in known:
                    best = seen
            if not found or not page.get("has_more"):
                break
            after = {"after_id": str(found[-1]["id"])}
        return best

    async def look(self, id_: str) -> BatchSeen | None:
        found = await self._http.json("GET", f"{self._url}/{id_}", gone=True)
        return None if found is None else _seen(found)

    async def cancel(self, id_: str) -> None:
        await self._http.json("POST", f"{self._url}/{id_}/cancel")

    async def lines(self, seen: BatchSeen) -> AsyncIterator[BatchLine]:
        """At our own address, wherever it says they are: the key goes nowhere else."""
        async for line in self._http.lines(f"{self._url}/{seen.id}/results"):
            read = await self._read(line)
            if read is not None:
                yield read

    async def _read(self, line: bytes) -> BatchLine | None:
        try:
            said = parsed(line)
            key, result = bytes.fromhex(said["custom_id"]), said["result"]
            kind = str(result["type"])
        except (ValueError, LookupError, TypeError):
            return None
        if kind in _NOT_BEGUN:
            return BatchLine(key=key, why=_NOT_BEGUN[kind])
        try:
            return await self._answer(key, kind, result)
        except LoomError as failed:
            return BatchLine(key=key, error=failed)

    async def _answer(self, key: bytes, kind: str, result: Mapping[str, Any]) -> BatchLine:
        if kind != "succeeded":
            error = result.get("error")
            inner = error.get("error", error) if isinstance(error, dict) else {}
            status = _STATUS.get(str(inner.get("type") if isinstance(inner, dict) else ""), 500)
            raise from_status(self._http.place, status, orjson.dumps(error), {})
        content = orjson.dumps(result.get("message"))
        return BatchLine(key=key, reply=await self._lane.batch_reply(self._question, content))


async def _body(path: Path) -> AsyncGenerator[bytes, None]:
    """The file's lines as one document, without holding it."""
    yield b'{"requests":['
    with path.open("rb") as file:
        for number, line in enumerate(file):
            yield (b"," if number else b"") + line.rstrip(b"\n")
    yield b"]}"


def _seen(said: Any) -> BatchSeen:
    try:
        state, counts = str(said["processing_status"]), said.get("request_counts") or {}
        numbers = {name: int(counts.get(name) or 0) for name in _COUNTS}
        return BatchSeen(
            id=str(said["id"]),
            state=state,
            ended=state == "ended",
            whole=not numbers["canceled"] and not numbers["expired"],
            done=numbers["succeeded"],
            failed=numbers["errored"],
            total=sum(numbers.values()),
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        said = Transient("the batch API answered with something that is no batch", kind="bad_body")
        raise maybe_paid(said) from None


def _made(batch: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(batch["created_at"]))
