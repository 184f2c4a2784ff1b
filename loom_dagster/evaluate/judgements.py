"""What a judge said before of the same output: read instead of working out again what it would be asked.

The questions of Arbiter's evaluators are written by Arbiter, whose import takes seconds. A judgement that is known by what
determines it needs neither.
"""

from __future__ import annotations

import functools
import importlib.metadata
from dataclasses import dataclass
from typing import Any, Protocol

from loom_dagster.records import Answer, digest

__all__ = ["Judgement", "Judgements", "judgement_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A score, and the answers it was read from."""

    value: float
    explanation: str
    answers: tuple[Answer, ...]


class Judgements(Protocol):
    """Keeps judgements by their key."""

    def judgement(self, key: bytes) -> Judgement | None:
        """The one with ``key``, if it is known."""

    def keep_judgement(self, key: bytes, judgement: Judgement, *, of: str, purpose: str) -> None:
        """``of`` and ``purpose`` as in ``Origin``."""


def judgement_key(*parts: Any) -> bytes:
    """Over all that determines a judgement, and over what writes the questions, which may change with every version."""
    return digest("judgement:1", _versions(), parts)


@functools.cache
def _versions() -> list[str]:
    return [importlib.metadata.version(name) for name in ("arbiter-ai", "loom-dagster")]
