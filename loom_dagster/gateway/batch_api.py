"""A provider's batch API: files of questions go in, are worked on for up to a day, and lines of answers come out.

OpenAI      POST files, POST batches, GET batches/ID, GET files/ID/content
            https://platform.openai.com/docs/api-reference/batch
Anthropic   POST messages/batches, GET messages/batches/ID, GET messages/batches/ID/results
            https://platform.claude.com/docs/en/api/messages/batches
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import orjson

from loom_dagster.errors import LoomError
from loom_dagster.gateway.lane import Reply

__all__ = ["LIMITS", "BatchApi", "BatchLimits", "BatchLine", "BatchSeen", "line_of"]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The most questions in one batch, and the most bytes."""

    requests: int
    size: int


LIMITS = {
    "openai": BatchLimits(50_000, 200_000_000),
    "anthropic": BatchLimits(100_000, 256_000_000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSeen:
    """What a provider says of a batch, ``state`` in its own word. ``ended``: its answers can be read; ``whole``: each
    question was worked on, so that a line that is missing may have been paid for. ``refused``: it was not taken as it
    is, for the reason ``said``, and nothing was worked on. ``files``: where the answers are."""

    id: str
    state: str
    ended: bool = False
    whole: bool = False
    refused: bool = False
    done: int = 0
    failed: int = 0
    total: int = 0
    said: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLine:
    """What came of the question ``key``: a reply, or an error whose class decides; neither when it was not worked
    on, as ``why`` says: ``expired`` or ``cancelled``."""

    key: bytes
    reply: Reply | None = None
    error: LoomError | None = None
    why: str = ""


class BatchApi(Protocol):
    """Of one provider, for one model and one schema. Every method asks once, and raises by class, see failures.py."""

    async def upload(self, path: Path, tag: str) -> str:
        """Hand over the file, if the provider wants it before the batch; gives its id there, or nothing."""

    async def create(self, path: Path, tag: str, file_id: str) -> BatchSeen:
        """Make the batch. An error that is ``maybe_paid`` says that it may be there all the same."""

    async def find(
        self, tag: str, *, since: datetime, requests: int, known: frozenset[str]
    ) -> BatchSeen | None:
        """The batch that was made with ``tag``, or else one of so many questions made after ``since`` that is not
        ``known`` as another; None when there is none."""

    async def look(self, id_: str) -> BatchSeen | None:
        """How it is. None when the provider knows of no such batch (any more)."""

    async def cancel(self, id_: str) -> None:
        """Ask for its end; what was answered until then can be read and is paid for."""

    def lines(self, seen: BatchSeen) -> AsyncIterator[BatchLine]:
        """Its answers, in any order."""


def line_of(provider: str, key: bytes, body: Any) -> bytes:
    """One question as a line of a batch's file."""
    if provider == "anthropic":
        return orjson.dumps({"custom_id": key.hex(), "params": body})
    return orjson.dumps(
        {"custom_id": key.hex(), "method": "POST", "url": "/v1/chat/completions", "body": body}
    )
