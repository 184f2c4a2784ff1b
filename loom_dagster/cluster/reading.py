"""The one reader of a run: cuts what comes from the source into blocks, in a thread, while there is room for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

from loom_dagster.cluster.blocks import Block, packed
from loom_dagster.cluster.suspects import OpenBlock
from loom_dagster.pipeline import Plan
from loom_dagster.pipeline.intake import pieces

__all__ = ["Reading"]

_MEMORY = 256 * 1024 * 1024  # bytes of blocks that are read and not written


class Reading:
    """``failure`` is what broke the source. ``blocks`` and ``records`` have been read so far."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="loom-extract")
        self._size, self._room = 0, asyncio.Event()
        self.blocks = self.records = 0
        self.failure: Exception | None = None
        self.exhausted = False

    async def each(self) -> AsyncIterator[OpenBlock]:
        """One block after the other."""
        loop, blocks = asyncio.get_running_loop(), self._packed()
        while True:
            while self._size >= _MEMORY:
                self._room.clear()
                await self._room.wait()
            try:
                block = await loop.run_in_executor(self._reader, next, blocks, None)
            except Exception as error:  # noqa: BLE001 - it is raised by the run once its records are safe
                self.failure, block = error, None
            if block is None:
                self.exhausted = True
                return
            self.blocks += 1
            self.records += len(block.ids) + len(block.rejected)
            self._size += block.size
            yield OpenBlock(block)

    def written(self, block: OpenBlock) -> None:
        """There is room for another one."""
        self._size -= block.whole.size
        self._room.set()

    async def close(self) -> None:
        """Wait for the reading thread to end."""
        await asyncio.to_thread(self._reader.shutdown, cancel_futures=True)

    def _packed(self) -> Iterator[Block]:
        """In the reading thread."""
        index = 0
        for batch in self._plan.batches():
            for piece in pieces(batch, index):
                yield packed(piece, self._plan.samples)
                index += 1
