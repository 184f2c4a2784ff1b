"""From a blocking source to waiting workers, with bounded memory and nothing lost on the way.

A batch of the source is handed out in pieces. A piece stays open until each of its records is
settled and it is written. A slow record keeps its own piece open and nothing else; the next batch is
read while there is ``Room``, so what is open is bounded in records and in bytes, whatever the size
of a batch and however many records wait for an answer that does not come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from loom_dagster.pipeline.route import Fate
from loom_dagster.records import Batch, Record

__all__ = ["Intake", "OpenPiece", "Room", "pieces"]

_PIECE = 256  # records; a slow one keeps so many from being written


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much may be open: another batch is read while it is less. ``size`` in bytes of the source."""

    records: int = 8_192
    size: int = 64 * 1024 * 1024


@dataclass(slots=True)
class OpenPiece:
    """Records of one batch that follow each other, and their fates so far. ``first`` is the row of
    the first one in the batch's table."""

    batch: Batch
    first: int
    fates: list[Fate | None]
    left: int

    def settle(self, record: Record, fate: Fate) -> bool:
        """True when this was the last one."""
        self.fates[record.row - self.first] = fate
        self.left -= 1
        return self.left == 0


class Intake:
    """Hands out records one by one; reads one batch ahead in a thread of its own."""

    def __init__(
        self, batches: Iterator[Batch], *, room: Room, on_piece: Callable[[OpenPiece], None]
    ) -> None:
        """``on_piece`` is told of every piece before its first record is handed out."""
        self._batches = batches
        self._on_piece = on_piece
        self._room = room
        self._records = self._size = self._pieces = 0
        self._ready: deque[tuple[OpenPiece, Record]] = deque()
        self._closed = asyncio.Event()
        self._refilling = asyncio.Lock()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="loom-extract")
        self._ahead: asyncio.Future[Batch | None] | None = None
        self.exhausted = False
        self.failure: BaseException | None = None

    async def take(self) -> tuple[OpenPiece, Record] | None:
        """The next record and its piece; None when there is no more (see ``failure``)."""
        while not self._ready:
            if self.exhausted:
                return None
            async with self._refilling:
                if not self._ready and not self.exhausted:
                    await self._refill()
        return self._ready.popleft()

    def close_piece(self, piece: OpenPiece) -> None:
        """An open piece is written."""
        self._count(piece.batch, -1)
        self._closed.set()

    def stop(self) -> list[tuple[OpenPiece, Record]]:
        """Hand out no more; gives back what was read and not handed out."""
        self.exhausted = True
        self._closed.set()
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
        while self._records >= self._room.records or self._size >= self._room.size:
            self._closed.clear()
            await self._closed.wait()
            if self.exhausted:
                return
        loop = asyncio.get_running_loop()
        reading = self._ahead or loop.run_in_executor(self._reader, next, self._batches, None)
        self._ahead = reading
        try:
            batch = await asyncio.shield(reading)
        except Exception as error:  # noqa: BLE001 - it is raised by the run once its records are safe
            self.failure, self.exhausted, self._ahead = error, True, None
            return
        self._ahead = None
        if batch is None or self.exhausted:
            self.exhausted = True
            return
        self._ahead = loop.run_in_executor(self._reader, next, self._batches, None)
        for part in pieces(batch, self._pieces):
            self._pieces += 1
            self._count(part, 1)
            rows = part.records
            piece = OpenPiece(part, rows[0].row if rows else 0, [None] * len(rows), len(rows))
            self._on_piece(piece)
            self._ready.extend((piece, record) for record in rows)

    def _count(self, part: Batch, sign: int) -> None:
        rows = len(part.records) + len(part.rejected)
        self._records += sign * rows
        self._size += sign * part.table.nbytes * len(part.records) // max(part.table.num_rows, 1)


def pieces(batch: Batch, index: int) -> Iterator[Batch]:
    """The batch in pieces, numbered from ``index``; a rejected row stays between its neighbours."""
    rejected = deque(batch.rejected)
    for start in range(0, max(len(batch.records), 1), _PIECE):
        end = start + _PIECE
        last = end >= len(batch.records)
        mine = []
        while rejected and (last or rejected[0].position < batch.records[end].position):
            mine.append(rejected.popleft())
        yield Batch(index=index, table=batch.table, records=batch.records[start:end], rejected=mine)
        index += 1
