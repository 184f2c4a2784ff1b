"""What a pipeline says to one input: what tests are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Asks", "Observed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One input, transformed and judged. ``output`` is None when there is none, ``error`` then says why. ``scores`` by
    evaluator, None for one that could not be had; ``score`` is their mean by weight, missing ones as 0, None without
    evaluators. ``cost`` in USD, as paid at the time (None: price unknown); ``latency`` in seconds; ``reused`` when every
    answer came from the store, and ``paid`` what was paid now."""

    output: Mapping[str, Any] | None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    score: float | None = None
    passed: bool = False
    reason: str = ""
    error: str | None = None
    kind: str = ""
    raw: str | None = None
    cost: float | None = None
    latency: float = 0.0
    paid: float = 0.0
    reused: bool = False
    simulated: bool = False


class Asks(Protocol):
    """What tests need of a pipeline that is put together. Fits ``assembly``'s."""

    async def ask(self, columns: Mapping[str, Any], *, sample: int = 0) -> Observed:
        """What the pipeline says to a row of these source columns. Another ``sample`` is another answer to the same
        question. Raises Misconfigured and Outage (OverBudget among them) only: what is about the row is in the result."""
