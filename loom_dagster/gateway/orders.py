"""Questions that are not asked now but go into a batch: what the gateway needs of those who gather them."""

from __future__ import annotations

from typing import Protocol

from loom_dagster.gateway.lane import BatchRequest
from loom_dagster.gateway.question import Question
from loom_dagster.records import Answer

__all__ = ["Orders"]


class Orders(Protocol):
    """Gathers the questions of one run."""

    def seen(self, answer: Answer) -> Answer:
        """A stored answer as the run sees it: not ``reused`` when a batch of this run was paid for it."""

    async def check(self, key: bytes) -> None:
        """Raises Waits when the question is in a batch already, and Transient or Permanent when a batch of this run
        has said that it cannot be answered."""

    async def add(self, key: bytes, question: Question, request: BatchRequest, worst: float) -> None:
        """Put the question into the order, once its price, ``worst`` USD at most, is reserved. Raises OverBudget,
        Permanent for one that does not fit into any batch, else Waits: its answer comes later."""
