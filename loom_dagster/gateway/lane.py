"""What the ways to a provider have in common: a question goes in, a reply or a classified error comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from loom_dagster.gateway.question import Message, Question
from loom_dagster.records import Usage

__all__ = ["Closes", "Lane", "Reply"]


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
