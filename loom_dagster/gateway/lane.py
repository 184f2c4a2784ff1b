"""What the ways to a provider have in common: a question goes in, a reply or a classified error comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from loom_dagster.gateway.question import Message, Question
from loom_dagster.records import Usage

__all__ = ["BatchRequest", "Batchable", "Closes", "Lane", "Reply"]


@dataclass(slots=True, kw_only=True)
class Reply:
    """What a provider answered. ``finish``: ``stop``, ``length``, ``content_filter``, ``refused`` or the
    provider's own word; ``latency`` in seconds, of this attempt; ``headers`` as they came, for quota.py."""

    text: str
    finish: str = "stop"
    usage: Usage = field(default_factory=Usage)
    latency: float = 0.0
    simulated: bool = False
    headers: Mapping[str, str] | None = None


class Lane(Protocol):
    """One attempt with one model."""

    async def send(self, question: Question, messages: Sequence[Message]) -> Reply:
        """Ask once. Raises Transient, Permanent or Misconfigured, never anything else on purpose."""


@runtime_checkable
class Closes(Protocol):
    """A lane that holds connections of its own."""

    async def close(self) -> None:
        """Let go of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """One question as a batch holds it: ``body`` is what would be sent online. ``url``: where batches of such are
    made; ``headers`` (none with a key) go with the batch as a whole."""

    url: str
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Batchable(Protocol):
    """A lane whose questions can go in a batch, and whose answers then read the same as online."""

    async def batch_request(self, question: Question, messages: Sequence[Message]) -> BatchRequest:
        """What a batch holds of the question. Raises Misconfigured where it cannot be said."""

    async def batch_reply(self, question: Question, content: bytes) -> Reply:
        """What the JSON of an answer says. Raises by class, see failures.py."""
