"""All that one run has to do with batches: its questions are gathered, sent at its end, and waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loom_dagster.batches.clerk import Clerk
from loom_dagster.batches.order import Order
from loom_dagster.batches.waiting import Waiting
from loom_dagster.ledger import Batches, RunHandle

__all__ = ["Desk"]


class Desk:
    """``order`` is what the gateway hands questions to; ``clerk`` sends what was gathered."""

    def __init__(self, order: Order, clerk: Callable[[Callable[[str], None]], Clerk], book: Batches) -> None:
        self.order, self._clerk, self._book = order, clerk, book

    async def send(self, note: Callable[[str], None]) -> None:
        """The run has asked all that it has to ask. Raises Misconfigured or Transient when a batch cannot be sent; it
        is still meant to be, and the next start sends it."""
        sealed = self.order.seal()
        async with self._clerk(note) as clerk:
            for batch in sealed:
                for row in self._book.get(batch):
                    await clerk.submit(row, first=True)

    def waiting(self, run: RunHandle) -> Sequence[Waiting]:
        """The batches that hold questions of the run, and are not settled."""
        return tuple(
            Waiting.of(row)
            for row in self._book.open()
            if row.run_id == run.run_id or row.batch_id in self.order.elsewhere
        )
