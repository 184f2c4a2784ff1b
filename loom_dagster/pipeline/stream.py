"""Records stream through transform and evaluate: no stage waits for another one to finish.

One event loop, ``workers`` coroutines, one thread that reads and one that writes. Memory is
bounded by the open batches; a record is judged as soon as it is transformed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from loom_dagster.clock import Clock, SystemClock
from loom_dagster.errors import LoomError, OverBudget
from loom_dagster.pipeline.intake import Intake, OpenPiece, Room
from loom_dagster.pipeline.route import Deferred, Fate, Route
from loom_dagster.pipeline.stop import Stop
from loom_dagster.records import Batch, Passed, Quarantined, Record
from loom_dagster.release import BatchResult

__all__ = ["Counts", "Pace", "Streamed", "Writes", "stream"]


class Writes(Protocol):
    """What the stream needs of a snapshot writer."""

    def add(self, result: BatchResult) -> None:
        """Take a finished batch, in any order."""


class Counts(Protocol):
    """What the stream tells of every record: a tally."""

    def take(self, records: int, rejected: Sequence[Quarantined]) -> None:
        """Records were read; ``rejected`` are quarantined already."""

    def settle(self, fate: Fate) -> None:
        """One more record has met its fate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much at once. ``drain`` in seconds: how long a stopped run waits for calls in flight."""

    workers: int = 64
    room: Room = field(default_factory=Room)
    drain: float = 15.0
    tick: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """How the stream ended. ``batches`` went to the writer; ``failure`` is what broke the source. ``waits``,
    ``stopped_by`` and ``over_budget``: as the route has them."""

    batches: int
    interrupted: bool
    failure: BaseException | None = None
    waits: int = 0
    stopped_by: LoomError | None = None
    over_budget: OverBudget | None = None


async def stream(
    batches: Iterator[Batch],
    route: Route,
    writer: Writes,
    tally: Counts,
    stop: Stop,
    *,
    pace: Pace,
    on_tick: Callable[[], None],
    clock: Clock | None = None,
) -> Streamed:
    """Settle every record of ``batches`` and hand finished batches to ``writer``.

    Ends early, with the rest deferred, when ``stop`` is requested.
    """
    flow = _Flow(route, writer, tally, batches, pace)
    loop = asyncio.get_running_loop()

    def stop_soon() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run has ended by itself
            loop.call_soon_threadsafe(flow.stop)

    stop.when_requested(stop_soon)
    ticker = asyncio.create_task(_tick(on_tick, pace.tick, clock or SystemClock()))
    try:
        await flow.run(pace, stop)
    finally:
        ticker.cancel()
        await asyncio.gather(ticker, return_exceptions=True)
        await flow.close()
    return Streamed(
        batches=flow.written,
        interrupted=stop.requested,
        failure=flow.intake.failure,
        waits=route.waits,
        stopped_by=route.stopped_by,
        over_budget=route.over_budget,
    )


class _Flow:
    def __init__(
        self, route: Route, writer: Writes, tally: Counts, batches: Iterator[Batch], pace: Pace
    ) -> None:
        self.route, self.writer, self.tally = route, writer, tally
        self.intake = Intake(batches, room=pace.room, on_piece=self._began)
        self.written = 0
        self._stopped = asyncio.Event()
        self._writing: set[asyncio.Future[None]] = set()
        self._writes = ThreadPoolExecutor(1, thread_name_prefix="loom-write")

    def stop(self) -> None:
        """Take in no more; what was read and not begun is deferred."""
        if not self._stopped.is_set():
            self._stopped.set()
            for piece, record in self.intake.stop():
                self._settle(piece, record, _not_begun(record))

    async def run(self, pace: Pace, stop: Stop) -> None:
        workers = [asyncio.create_task(self._work()) for _ in range(pace.workers)]
        stopped = asyncio.create_task(self._stopped.wait())
        working = asyncio.gather(*workers)
        try:
            both: list[asyncio.Future[Any]] = [working, stopped]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await asyncio.wait([working], timeout=pace.drain)
            if not working.done():  # what does not answer in time is deferred by its worker
                for worker in workers:
                    worker.cancel()
                await asyncio.wait(workers)
            else:
                working.result()
        finally:
            stopped.cancel()
            for worker in workers:
                worker.cancel()
            await asyncio.gather(working, stopped, *workers, return_exceptions=True)
        while self._writing:
            await asyncio.gather(*tuple(self._writing))

    async def close(self) -> None:
        await self.intake.close()
        await asyncio.to_thread(self._writes.shutdown)

    async def _work(self) -> None:
        take, settle = self.intake.take, self.route.settle
        while (item := await take()) is not None:
            piece, record = item
            try:
                fate = await settle(record)
            except asyncio.CancelledError:
                self._settle(piece, record, _not_begun(record))
                raise
            self._settle(piece, record, fate)
            del item, piece, record, fate  # a worker that waits for the next one keeps no batch alive

    def _began(self, piece: OpenPiece) -> None:
        self.tally.take(len(piece.batch.records), piece.batch.rejected)
        if piece.left == 0:
            self._write(piece)

    def _settle(self, piece: OpenPiece, record: Record, fate: Passed | Quarantined | Deferred) -> None:
        self.tally.settle(fate)
        if piece.settle(record, fate):
            self._write(piece)

    def _write(self, piece: OpenPiece) -> None:
        fates = piece.fates
        result = BatchResult(
            batch=piece.batch,
            passed=[f for f in fates if isinstance(f, Passed)],
            quarantined=[*piece.batch.rejected, *(f for f in fates if isinstance(f, Quarantined))],
            deferred=[(f.id, f.position, f.reason) for f in fates if isinstance(f, Deferred)],
        )
        future = asyncio.get_running_loop().run_in_executor(self._writes, self.writer.add, result)
        self._writing.add(future)
        future.add_done_callback(partial(self._wrote, piece))

    def _wrote(self, piece: OpenPiece, future: asyncio.Future[None]) -> None:
        self.intake.close_piece(piece)
        if not future.cancelled() and future.exception() is None:
            self._writing.discard(future)
            self.written += 1
        elif not self._stopped.is_set():  # the disk is full, say: paying for more would be waste
            self.stop()


def _not_begun(record: Record) -> Deferred:
    return Deferred(id=record.id, position=record.position, reason="interrupted: the run was stopped")


async def _tick(on_tick: Callable[[], None], seconds: float, clock: Clock) -> None:
    while True:
        await clock.sleep(seconds)
        on_tick()
