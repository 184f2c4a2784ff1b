"""From a blocking source to waiting workers, with bounded memory and nothing lost on the way.

A batch stays open until each of its records is settled; then it goes to the writer whole. A slow
record keeps its own batch open and nothing else, so the number of open batches, and with it the
memory, is bounded by ``open_batches`` times the size of a batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from loom_dagster.pipeline.route import Fate
from loom_dagster.records import Batch, Record

__all__ = ["Intake", "OpenBatch"]


@dataclass(slots=True)
class OpenBatch:
    """A batch and the fates of its records so far, by row."""

    batch: Batch
    fates: list[Fate | None]
    left: int

    def settle(self, record: Record, fate: Fate) -> bool:
        """True when this was the last one."""
        self.fates[record.row] = fate
        self.left -= 1
        return self.left == 0


class Intake:
    """Hands out records one by one; reads one batch ahead in a thread of its own."""

    def __init__(
        self,
        batches: Iterator[Batch],
        *,
        open_batches: int,
        on_batch: Callable[[OpenBatch], None],
    ) -> None:
        """``on_batch`` is told of every batch before its first record is handed out."""
        self._batches = batches
        self._on_batch = on_batch
        self._ready: deque[tuple[OpenBatch, Record]] = deque()
        self._slots = asyncio.Semaphore(open_batches)
        self._refilling = asyncio.Lock()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="loom-extract")
        self._ahead: asyncio.Future[Batch | None] | None = None
        self.exhausted = False
        self.failure: BaseException | None = None

    async def take(self) -> tuple[OpenBatch, Record] | None:
        """The next record and its batch; None when there is no more (see ``failure``)."""
        while not self._ready:
            if self.exhausted:
                return None
            async with self._refilling:
                if not self._ready and not self.exhausted:
                    await self._refill()
        return self._ready.popleft()

    def close_batch(self) -> None:
        """An open batch has gone to the writer."""
        self._slots.release()

    def stop(self) -> list[tuple[OpenBatch, Record]]:
        """Hand out no more; gives back what was read and not handed out."""
        self.exhausted = True
        rest = list(self._ready)
        self._ready.clear()
        return rest

    async def close(self) -> None:
        """Wait for the reading thread to end."""
        if self._ahead is not None:
            await asyncio.wait([self._ahead])
            if not self._ahead.cancelled():
                self._ahead.exception()  # seen; a failure after a stop changes nothing
        await asyncio.to_thread(self._reader.shutdown)

    async def _refill(self) -> None:
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        reading = self._ahead or loop.run_in_executor(self._reader, next, self._batches, None)
        self._ahead = reading
        try:
            batch = await asyncio.shield(reading)
        except Exception as error:  # noqa: BLE001 - it is raised by the run once its records are safe
            self.failure, self.exhausted, self._ahead = error, True, None
            self._slots.release()
            return
        self._ahead = None
        if batch is None or self.exhausted:
            self.exhausted = True
            self._slots.release()
            return
        self._ahead = loop.run_in_executor(self._reader, next, self._batches, None)
        opened = OpenBatch(batch, [None] * len(batch.records), len(batch.records))
        self._on_batch(opened)
        self._ready.extend((opened, record) for record in batch.records)
