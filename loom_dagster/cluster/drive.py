"""The driver's side: blocks go out to workers, results come back in any order, and what a dead worker had goes to others.

Whatever happens to workers, each record is counted and written once: a block's count comes with its tables, as one
result, and the first result of a part is the only one that is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from loom_dagster.cluster.blocks import Block, Made, packed, packed_tables, read_back, unpacked
from loom_dagster.cluster.crew import Crew, Gone, Hand
from loom_dagster.cluster.suspects import OpenBlock, Part, after_death
from loom_dagster.errors import LoomError, Misconfigured, OverBudget
from loom_dagster.pipeline import Deferred, Streamed, Tally, Work
from loom_dagster.pipeline.intake import pieces
from loom_dagster.records import Batch, Quarantined, Stage
from loom_dagster.release import BatchResult
from loom_dagster.release.rows import Rows

__all__ = ["Drive"]

_MEMORY = 256 * 1024 * 1024  # bytes of open blocks
_OPEN = 6  # blocks of a worker, beside those that its calls in flight are of
_PIECE = 256
_POISON = 25  # records that kill their worker; more are no accident
_LATE = 10.0  # seconds that a stopped worker may take beyond the drain


class Drive:
    """Settles the records of one run with a crew of workers. For one event loop; used once."""

    def __init__(self, work: Work, crew: Crew, rows: Rows) -> None:
        self._work, self._crew, self._rows = work, crew, rows
        self._fresh, self._suspects = deque[Part](), deque[Part]()
        self._open: dict[Hand, set[Part]] = {}
        self._known: dict[Hand, dict[str, int]] = {}  # what each has settled of open blocks
        self._most = _OPEN + -(-2 * work.plan.pace.workers // _PIECE)
        self._memory = self._read = self._blocks = self._written = self._poison = self._fruitless = 0
        self._exhausted = self._stopping = False
        self._failure: BaseException | None = None
        self._fatal: BaseException | None = None
        self._stopped_by: LoomError | None = None
        self._over_budget: OverBudget | None = None
        self._changed, self._tasks = asyncio.Event(), set[asyncio.Task[Any]]()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="loom-extract")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="loom-write")

    async def run(self) -> Streamed:
        """Until every record is settled, or ``stop`` is asked for. Raises what no record is to blame for."""
        loop = asyncio.get_running_loop()

        def stop_soon() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the run has ended by itself
                loop.call_soon_threadsafe(self._stop)

        self._work.stop.when_requested(stop_soon)
        self._start(self._reading())
        self._start(self._telling())
        self._start(self._watching())
        for _ in range(self._crew.wanted):
            self._start(self._hire())
        try:
            while not self._ended():
                self._assign()
                self._changed.clear()
                await self._changed.wait()
            if not self._stopping and self._fatal is None:
                await self._dismiss()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._reader.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(self._writer.shutdown)
        if self._fatal is not None:
            raise self._fatal
        return Streamed(
            batches=self._written,
            interrupted=self._work.stop.requested,
            failure=self._failure,
            stopped_by=self._stopped_by,
            over_budget=self._over_budget,
        )

    def _ended(self) -> bool:
        if self._fatal is not None or (self._stopping and not self._open):
            return True
        return self._exhausted and self._written == self._blocks

    # -- what comes in

    async def _reading(self) -> None:
        """One block after the other, while what is open fits in memory."""
        loop = asyncio.get_running_loop()
        blocks = self._packed()
        while not self._stopping:
            if self._memory >= _MEMORY or len(self._fresh) > 2 * self._crew.wanted:
                await asyncio.sleep(0.01)
                continue
            try:
                block = await loop.run_in_executor(self._reader, next, blocks, None)
            except Exception as error:  # noqa: BLE001 - it is raised by the run once its records are safe
                self._failure, block = error, None
            if block is None:
                break
            self._blocks += 1
            self._read += len(block.ids) + len(block.rejected)
            self._memory += block.size
            part = Part(OpenBlock(block), 0, len(block.ids))
            if self._stopped_by is None:
                self._fresh.append(part)
            else:
                self._defer(part, self._stopped_by)
            self._changed.set()
        self._exhausted = True
        self._changed.set()

    def _packed(self) -> Iterator[Block]:
        """In the reading thread."""
        index = 0
        for batch in self._work.plan.batches():
            for piece in pieces(batch, index):
                yield packed(piece, self._work.plan.samples)
                index += 1

    # -- who does it

    async def _hire(self) -> None:
        try:
            hand = await self._crew.hire()
        except Gone as gone:
            self._count_death(gone)
            self._start(self._hire())
            return
        if self._stopping or self._stopped_by is not None:
            hand.kill()
            return
        self._open[hand] = set()
        self._start(self._asking(hand))
        self._changed.set()

    def _assign(self) -> None:
        """Parts to workers with room; a suspect only to one that has nothing else, and gets nothing else."""
        if self._stopping:
            return
        for hand, parts in self._open.items():
            if self._suspects and not parts:
                self._give(hand, self._suspects.popleft())
        able = [h for h, parts in self._open.items() if not any(p.suspect for p in parts)]
        if self._suspects and able:
            able.remove(min(able, key=lambda h: len(self._open[h])))  # it will be free for them
        while self._fresh and able:
            hand = min(able, key=lambda h: len(self._open[h]))
            if len(self._open[hand]) >= self._most:
                return
            self._give(hand, self._fresh.popleft())

    def _give(self, hand: Hand, part: Part) -> None:
        self._open[hand].add(part)
        self._start(self._settle(hand, part))

    async def _settle(self, hand: Hand, part: Part) -> None:
        try:
            made = await hand.settle(part.block)
        except Gone as gone:
            await self._died(hand, gone)
            return
        if hand not in self._open or part not in self._open[hand]:
            return  # it was given up, and is settled by another
        self._open[hand].discard(part)
        if made is not None:
            self._fruitless = 0
            self._take(part, made)
        self._changed.set()

    async def _died(self, hand: Hand, gone: Gone) -> None:
        """Once for each worker: its parts go to others when the till has settled what it had in flight."""
        parts = self._open.pop(hand, None)
        self._known.pop(hand, None)
        if parts is None:
            return
        hand.kill()
        await self._crew.lost(hand)
        self._count_death(gone)
        if not self._stopping and self._stopped_by is None:
            self._start(self._hire())
        for part in sorted(parts, key=lambda p: (p.of.whole.index, p.first), reverse=True):
            self._again(part, gone)
        self._changed.set()

    def _again(self, part: Part, gone: Gone) -> None:
        if self._stopped_by is not None:
            self._defer(part, self._stopped_by)
            return
        parts = after_death(part)
        if parts:
            self._suspects.extendleft(reversed(parts))
            return
        self._poison += 1
        self._fruitless = 0
        self._quarantine(part, gone)
        if self._poison > _POISON:
            self._give_up(
                Misconfigured(
                    f"{self._poison} records killed the worker that had them",
                    why=gone.why,
                    fix="look at what the pipeline's own functions do; `loom quarantine list` names the records",
                    kind="worker_died",
                )
            )

    def _count_death(self, gone: Gone) -> None:
        self._fruitless += 1
        if self._fruitless > 10 + self._crew.wanted:
            self._give_up(
                Misconfigured(
                    f"{self._fruitless} workers died one after the other, and nothing was settled by any",
                    why=gone.why,
                    fix="look at their logs on the cluster; is there enough memory for a worker?",
                    kind="cluster",
                )
            )

    def _give_up(self, error: LoomError) -> None:
        """There will be no more workers: whatever is not settled is deferred."""
        if self._stopped_by is not None:
            return
        self._stopped_by = error
        for hand, parts in tuple(self._open.items()):
            del self._open[hand]
            hand.kill()
            for part in parts:
                self._defer(part, error)
        self._defer_waiting()

    def _defer_waiting(self) -> None:
        error = self._stopped_by
        for parts in (self._fresh, self._suspects):
            while error is not None and parts:
                self._defer(parts.popleft(), error)
        self._changed.set()

    # -- what comes out

    def _defer(self, part: Part, error: LoomError) -> None:
        reason = f"{error.kind}: {error.what}"

        def settle(batch: Batch) -> BatchResult:
            rest = [(r.id, r.position, reason) for r in batch.records]
            return BatchResult(batch=batch, passed=[], quarantined=batch.rejected, deferred=rest)

        self._take(part, self._made_here(part, settle))

    def _quarantine(self, part: Part, gone: Gone) -> None:
        """A record that two workers died of. Its functions, where it has any, are all of ours that can do that."""
        functions = any(e.type == "python" for e in self._work.plan.evaluate.evaluators)
        said = f"the worker that settled it died, twice, with nothing else in hand: {gone.why}"

        def settle(batch: Batch) -> BatchResult:
            failed = [
                Quarantined(
                    id=r.id,
                    position=r.position,
                    stage=Stage.EVALUATE if functions else Stage.TRANSFORM,
                    reason=said,
                    kind="worker_died",
                    source=r.columns,
                    attempts=self._work.plan.samples.get(r.id, 0),
                )
                for r in batch.records
            ]
            return BatchResult(batch=batch, passed=[], quarantined=[*batch.rejected, *failed])

        self._take(part, self._made_here(part, settle))

    def _made_here(self, part: Part, settle: Any) -> Made:
        batch = unpacked(part.block)
        result: BatchResult = settle(batch)
        tally = Tally(self._work.plan.evaluators, float)
        tally.take(len(batch.records), batch.rejected)
        for failed in result.quarantined[len(batch.rejected) :]:
            tally.settle(failed)
        for record_id, position, reason in result.deferred:
            tally.settle(Deferred(id=record_id, position=position, reason=reason))
        return Made(tables=packed_tables(self._rows.of(result)), counted=tally.counted())

    def _take(self, part: Part, made: Made) -> None:
        self._work.tally.merge(made.counted)
        if part.of.take(part, made.tables):
            self._start(self._write(part.of))

    async def _write(self, block: OpenBlock) -> None:
        def write() -> None:
            self._work.writer.add_rows(block.whole.index, read_back(block.parts))

        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, write)
        except Exception as error:  # noqa: BLE001 - the disk is full, say: paying for more would be waste
            self._fatal = self._fatal or error
        self._written += 1
        self._memory -= block.whole.size
        self._changed.set()

    # -- what is told

    async def _telling(self) -> None:
        work = self._work
        while True:
            await work.clock.sleep(work.plan.pace.tick)
            self._ahead()
            work.tick()

    def _ahead(self) -> None:
        """What is settled of blocks that are still on their way, for those who watch."""
        ahead = {"passed": 0, "quarantined": 0, "deferred": 0}
        for settled in self._known.values():
            for what, number in settled.items():
                ahead[what] += number
        self._work.tally.ahead = {**ahead, "extracted": self._read - self._work.tally.extracted}

    async def _asking(self, hand: Hand) -> None:
        """What a worker has to tell, now and then: notes and money do not wait for a block to be done."""
        while hand in self._open:
            await self._work.clock.sleep(max(1.0, self._crew.wanted / 100))
            try:
                await self._hear(hand)
            except Gone as gone:
                await self._died(hand, gone)

    async def _hear(self, hand: Hand) -> None:
        news = await hand.news()
        self._work.tally.merge_calls(news.counted)
        if hand in self._open:
            self._known[hand] = dict(news.settled)
        for text in news.notes:
            self._work.note(text)
        self._over_budget = news.over_budget or self._over_budget
        if news.stopped_by is not None and self._stopped_by is None:
            self._stopped_by = news.stopped_by
            for other in self._open:
                self._start(other.halt(news.stopped_by))
            self._defer_waiting()

    async def _watching(self) -> None:
        """Over the cluster as a whole; its end is the end of the run."""
        try:
            await self._crew.watch(self._work.note)
        except LoomError as error:
            if isinstance(error, Misconfigured) and not self._written:
                self._fatal = error
            else:
                self._give_up(error)
            self._changed.set()

    # -- how it ends

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._fresh.clear()
            self._suspects.clear()
            self._start(self._drain())
            self._changed.set()

    async def _drain(self) -> None:
        stopping = [asyncio.create_task(self._dismissed(hand, stop=True)) for hand in self._open]
        if stopping:
            await asyncio.wait(stopping, timeout=self._work.plan.pace.drain + _LATE)
        while any(self._open.values()) and all(task.done() for task in stopping):
            await asyncio.sleep(0)  # the last results are on their way to `_settle`
            break
        self._open.clear()
        self._changed.set()

    async def _dismiss(self) -> None:
        await asyncio.gather(*(self._dismissed(hand) for hand in tuple(self._open)))

    async def _dismissed(self, hand: Hand, *, stop: bool = False) -> None:
        """What it has to tell last, and its end."""
        with contextlib.suppress(Gone, TimeoutError):
            async with asyncio.timeout(self._work.plan.pace.drain + _LATE):
                if stop:
                    await hand.stop()
                await self._hear(hand)
                await hand.leave()
        hand.kill()

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fatal = self._fatal or error
            self._changed.set()
