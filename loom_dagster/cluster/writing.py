"""Blocks that are done go to the snapshot's writer, in a thread of their own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from loom_dagster.cluster.blocks import read_back
from loom_dagster.cluster.suspects import OpenBlock
from loom_dagster.release import SnapshotWriter

__all__ = ["Writing"]


class Writing:
    """``written`` blocks are in the snapshot."""

    def __init__(self, writer: SnapshotWriter) -> None:
        self._writer, self.written = writer, 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loom-write")

    async def add(self, block: OpenBlock) -> None:
        """Raises what the writer does."""

        def write() -> None:
            self._writer.add_rows(block.whole.index, read_back(block.parts))

        await asyncio.get_running_loop().run_in_executor(self._thread, write)
        self.written += 1

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.to_thread(self._thread.shutdown)
