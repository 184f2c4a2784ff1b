"""The batches of a stream: how they are cut, what became of each, and of all together."""

from __future__ import annotations

from dataclasses import dataclass

from loom_dagster.pipeline.outcome import Outcome

__all__ = ["BatchDone", "Consumed", "Terms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """``batch`` messages at most, those that come within ``wait`` seconds of the first. ``batches``: stop after
    so many; ``until_empty``: stop when there is no more. ``lenient``: a failed gate does not stop the stream."""

    batch: int
    wait: float
    batches: int | None = None
    until_empty: bool = False
    lenient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDone:
    """A batch and what became of it. ``settled`` messages were so by an earlier run; ``outcome`` is None when
    all were. ``stops``: its messages were not acknowledged. ``behind``: messages that wait, if that is known."""

    number: int
    messages: int
    settled: int
    outcome: Outcome | None
    stops: bool
    behind: int | None
    seconds: float


@dataclass(kw_only=True)
class Consumed:
    """All batches of one start. ``why`` it ended with another exit code than 0."""

    batches: int = 0
    messages: int = 0
    passed: int = 0
    quarantined: int = 0
    loaded: int = 0
    cost: float = 0.0
    exit_code: int = 0
    why: str | None = None
