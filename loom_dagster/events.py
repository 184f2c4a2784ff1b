"""What a running pipeline tells those who watch it: a terminal, Dagster's log, a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Event", "Listener", "Note", "Progress", "RunStarted", "StageDone", "ignore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run begins; ``resumed`` when it continues one that did not end."""

    pipeline: str
    version: str | None
    run_id: str
    resumed: bool
    model: str
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Counts so far; sent a few times a second at most. ``cost`` in USD."""

    pipeline: str
    extracted: int
    transformed: int
    passed: int
    quarantined: int
    deferred: int
    cost: float
    exhausted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDone:
    """A stage has handled its last record. ``seconds`` since the run began handling records."""

    pipeline: str
    stage: str
    records: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A sentence worth showing: a warning, a retry that waits long, a breaker that opened."""

    pipeline: str
    text: str
    level: str = "warning"


Event = RunStarted | Progress | StageDone | Note
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
