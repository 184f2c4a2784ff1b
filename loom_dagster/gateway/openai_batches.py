"""OpenAI's files and batches. Source: https://platform.openai.com/docs/api-reference/batch"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from loom_dagster.errors import LoomError, Transient
from loom_dagster.gateway.batch_api import BatchLine, BatchSeen
from loom_dagster.gateway.batch_http import BatchHttp
from loom_dagster.gateway.connection import parsed
from loom_dagster.gateway.failures import from_status, maybe_paid
from loom_dagster.gateway.lane import Batchable
from loom_dagster.gateway.question import Question

__all__ = ["OpenAIBatches"]

_ENDED = {"completed", "expired", "cancelled"}
_NOT_BEGUN = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
_PAGE = 100
_PAGES = 50


class OpenAIBatches:
    """``question`` stands for those of the batch: they have its model and schema in common."""

    def __init__(self, http: BatchHttp, url: str, lane: Batchable, question: Question) -> None:
        self._http, self._url, self._lane, self._question = http, url, lane, question

    async def upload(self, path: Path, tag: str) -> str:
        """The file; one that is uploaded twice costs nothing."""
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        with path.open("rb") as file:
            form.add_field(
                "file", file, filename=f"loom-{tag}.jsonl", content_type="application/octet-stream"
            )
            made = await self._http.json("POST", f"{self._url}/files", data=form)
        return str(_of(made, "id"))

    async def create(self, path: Path, tag: str, file_id: str) -> BatchSeen:
        """``tag`` goes into its metadata."""
        body = {
            "input_file_id": file_id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"loom_batch": tag},
        }
        return _seen(await self._http.json("POST", f"{self._url}/batches", json=body))

    async def find(
        self, tag: str, *, since: datetime, requests: int, known: frozenset[str]
    ) -> BatchSeen | None:
        """By its metadata. The newest come first; those made before ``since`` are not looked at."""
        after: Mapping[str, str] = {}
        for _ in range(_PAGES):
            params = {"limit": str(_PAGE), **after}
            page = await self._http.json("GET", f"{self._url}/batches", params=params)
            found = _of(page, "data") or []
            for each in found:
                if (each.get("metadata") or {}).get("loom_batch") == tag:
                    return _seen(each)
            if not found or not page.get("has_more") or _before(found[-1], since):
                return None
            after = {"after": str(found[-1]["id"])}
        return None

    async def look(self, id_: str) -> BatchSeen | None:
        found = await self._http.json("GET", f"{self._url}/batches/{id_}", gone=True)
        return None if found is None else _seen(found)

    async def cancel(self, id_: str) -> None:
        await self._http.json("POST", f"{self._url}/batches/{id_}/cancel")

    async def lines(self, seen: BatchSeen) -> AsyncIterator[BatchLine]:
        """Of the output file and of the error file."""
        for file_id in seen.files:
            async for line in self._http.lines(f"{self._url}/files/{file_id}/content"):
                read = await self._read(line)
                if read is not None:
                    yield read

    async def _read(self, line: bytes) -> BatchLine | None:
        """None for a line that nobody can know the question of."""
        try:
            said = parsed(line)
            key = bytes.fromhex(said["custom_id"])
            response, error = said.get("response"), said.get("error") or {}
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        code = str(error.get("code") or "")
        if response is None and code in _NOT_BEGUN:
            return BatchLine(key=key, why=_NOT_BEGUN[code])
        try:
            return await self._answer(key, response, error)
        except LoomError as failed:
            return BatchLine(key=key, error=failed)

    async def _answer(self, key: bytes, response: Any, error: Mapping[str, Any]) -> BatchLine:
        place = self._http.place
        if not isinstance(response, dict):
            why = place.scrub(str(error.get("message") or error.get("code") or "no answer"))
            raise Transient(f"{place} failed", why=why, kind="server_error")
        status, body = int(response.get("status_code") or 500), response.get("body")
        content = orjson.dumps(body)
        if status != 200:
            raise from_status(place, status, content, {})
        return BatchLine(key=key, reply=await self._lane.batch_reply(self._question, content))


def _seen(said: Any) -> BatchSeen:
    try:
        state, counts = str(said["status"]), said.get("request_counts") or {}
        files = tuple(str(said[k]) for k in ("output_file_id", "error_file_id") if said.get(k))
        errors = (said.get("errors") or {}).get("data") or []
        return BatchSeen(
            id=str(said["id"]),
            state=state,
            ended=state in _ENDED,
            whole=state == "completed",
            refused=state == "failed",
            done=int(counts.get("completed") or 0),
            failed=int(counts.get("failed") or 0),
            total=int(counts.get("total") or 0),
            said="; ".join(str(e.get("message") or e.get("code")) for e in errors[:3]),
            files=files,
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        raise _senseless() from None


def _of(said: Any, name: str) -> Any:
    try:
        return said[name]
    except (LookupError, TypeError):
        raise _senseless() from None


def _senseless() -> Transient:
    return maybe_paid(Transient("the batch API answered with something that is no batch", kind="bad_body"))


def _before(batch: Mapping[str, Any], since: datetime) -> bool:
    try:
        return int(batch["created_at"]) < since.timestamp()
    except (LookupError, TypeError, ValueError):
        return False
