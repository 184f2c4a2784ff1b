"""The driver's side: blocks go out to workers, results come back in any order, and what a dead worker had goes to others.

Whatever happens to workers, each record is counted and written once: a part's count comes with its tables, as one
result, and a part is with one worker at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

from loom_dagster.cluster.blocks import Made
from loom_dagster.cluster.hands import Crew, Gone, Hand
from loom_dagster.cluster.hearing import Hearing
from loom_dagster.cluster.made_here import all_deferred, all_killing
from loom_dagster.cluster.reading import Reading
from loom_dagster.cluster.suspects import OpenBlock, Part, after_death
from loom_dagster.cluster.tasks import Tasks, until_given_up
from loom_dagster.cluster.writing import Writing
from loom_dagster.errors import LoomError, Misconfigured
from loom_dagster.pipeline import Streamed, Work
from loom_dagster.release.rows import Rows

__all__ = ["Drive"]

_OPEN = 6  # blocks of a worker, beside those that its calls in flight are of: a slow record keeps one open
_BLOCK = 256
_POISON = 25  # records that kill their worker; more are no accident
_FRUITLESS = 10  # deaths of workers, beside one of each, with nothing settled in between
_LATE = 10.0  # seconds that a stopped worker may take beyond the drain


class Drive:
    """Settles the records of one run with a crew of workers. For one event loop; used once."""

    def __init__(self, work: Work, crew: Crew, rows: Rows) -> None:
        self._work, self._crew, self._rows = work, crew, rows
        self._reading = Reading(work.plan)
        self._fresh, self._suspects = deque[Part](), deque[Part]()
        self._open: dict[Hand, set[Part]] = {}
        self._settling: dict[Hand, set[asyncio.Task[Any]]] = {}
        self._most = _OPEN + -(-2 * work.plan.pace.workers // _BLOCK)
        self._poison = self._fruitless = 0
        self._stopping = self._drained = self._proven = False
        self._stopped_by: LoomError | None = None
        self._changed = asyncio.Event()
        self._tasks = Tasks(self._changed.set)
        self._hearing = Hearing(work, self._reading)
        self._wanted, self._given_up = asyncio.Event(), asyncio.Event()
        self._writing = Writing(work.writer)

    async def run(self) -> Streamed:
        """Until every record is settled, or ``stop`` is asked for. Raises what no record is to blame for."""
        loop = asyncio.get_running_loop()

        def stop_soon() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the run has ended by itself
                loop.call_soon_threadsafe(self._stop)

        self._work.stop.when_requested(stop_soon)
        for each in (self._read(), self._hearing.tell(), self._watch()):
            self._tasks.start(each)
        for _ in range(self._crew.wanted):
            self._tasks.start(self._hire())
        try:
            while not self._ended:
                self._assign()
                self._changed.clear()
                await self._changed.wait()
            if self._tasks.error is None and not self._stopping:
                await asyncio.gather(*(self._dismiss(hand) for hand in tuple(self._open)))
        finally:
            await self._tasks.close()
            await self._reading.close()
            await self._writing.close()
            self._hearing.close()
        if self._tasks.error is not None:
            raise self._tasks.error
        return Streamed(
            batches=self._writing.written,
            interrupted=self._work.stop.requested,
            failure=self._reading.failure,
            stopped_by=self._stopped_by,
            over_budget=self._hearing.over_budget,
        )

    @property
    def _ended(self) -> bool:
        if self._tasks.error is not None or self._drained:
            return True
        reading = self._reading
        return reading.exhausted and self._writing.written == reading.blocks

    # what comes in, and who gets it

    async def _read(self) -> None:
        async for block in self._reading.each():
            part = Part(block, 0, len(block.whole.ids))
            if self._stopped_by is not None:
                self._defer(part, self._stopped_by)
                continue
            self._fresh.append(part)
            self._changed.set()
            while len(self._fresh) > self._crew.wanted:
                self._wanted.clear()
                await self._wanted.wait()
        self._changed.set()

    async def _hire(self) -> None:
        while not self._stopping and self._stopped_by is None:
            try:
                hand = await self._crew.hire()
            except Gone as gone:
                self._count_death(gone)
                continue
            self._open[hand] = set()
            self._tasks.start(self._ask(hand))
            self._changed.set()
            return

    def _assign(self) -> None:
        """Parts to workers with room; a suspect only to one that has nothing else, and that gets nothing else."""
        if self._stopping:
            return

        def load(hand: Hand) -> int:
            return len(self._open[hand])

        for hand, parts in self._open.items():
            if self._suspects and not parts:
                self._give(hand, self._suspects.popleft())
        able = [h for h, parts in self._open.items() if not any(p.suspect for p in parts)]
        if self._suspects and able:
            able.remove(min(able, key=load))  # it will be free for them
        while self._fresh and able:
            hand = min(able, key=load)
            if load(hand) >= self._most:
                break
            self._give(hand, self._fresh.popleft())
            self._wanted.set()

    def _give(self, hand: Hand, part: Part) -> None:
        self._open[hand].add(part)
        settling = self._tasks.start(self._settle(hand, part))
        self._settling.setdefault(hand, set()).add(settling)
        settling.add_done_callback(self._settling[hand].discard)

    async def _settle(self, hand: Hand, part: Part) -> None:
        try:
            made = await hand.settle(part.block)
        except Gone as gone:
            await self._died(hand, gone)
            return
        if part not in self._open.get(hand, ()):
            return  # it is with another one
        self._open[hand].discard(part)
        if made is not None:
            self._fruitless, self._proven = 0, True
            self._hearing.forget(hand)
            self._take(part, made)
        self._changed.set()

    # what goes wrong

    async def _died(self, hand: Hand, gone: Gone) -> None:
        """Once for each worker. Its parts go to others when the till has settled what it had in flight."""
        parts = self._open.pop(hand, None)
        self._hearing.forget(hand)
        if parts is None:
            return
        hand.kill()
        await until_given_up(self._crew.lost(hand), self._given_up)
        self._count_death(gone)
        self._tasks.start(self._hire())
        for part in sorted(parts, key=lambda p: (p.of.whole.index, p.first), reverse=True):
            if self._stopped_by is None:
                self._suspect(part, gone)
            else:
                self._defer(part, self._stopped_by)
        self._changed.set()

    def _suspect(self, part: Part, gone: Gone) -> None:
        parts = after_death(part)
        self._suspects.extendleft(reversed(parts))
        if parts:
            return
        if not self._proven:  # it may be the workers, and not the record: others are tried first
            self._suspects.append(part)
            return
        self._poison += 1
        self._fruitless = 0
        self._take(part, all_killing(part.block, gone.why, self._work.plan, self._rows))
        if self._poison > _POISON:
            self._give_up(
                Misconfigured(
                    f"{self._poison} records killed the worker that had them",
                    why=gone.why,
                    fix="look at what the pipeline's own functions do; the records are in quarantine",
                    kind="worker_died",
                )
            )

    def _count_death(self, gone: Gone) -> None:
        self._fruitless += 1
        if self._fruitless > _FRUITLESS + self._crew.wanted:
            self._give_up(
                Misconfigured(
                    f"{self._fruitless} workers died one after the other, and none had settled anything",
                    why=gone.why,
                    fix="look at the cluster's logs: is there enough memory for a worker?",
                    kind="worker_died",
                )
            )

    def _give_up(self, error: LoomError) -> None:
        """There will be no more workers: whatever is not settled is deferred."""
        if self._stopped_by is not None:
            return
        self._stopped_by = error
        self._given_up.set()
        for hand, parts in tuple(self._open.items()):
            del self._open[hand]
            hand.kill()
            for part in parts:
                self._defer(part, error)
        self._defer_waiting(error)

    def _defer_waiting(self, error: LoomError) -> None:
        for waiting in (self._fresh, self._suspects):
            while waiting:
                self._defer(waiting.popleft(), error)
        self._wanted.set()
        self._changed.set()

    def _defer(self, part: Part, error: LoomError) -> None:
        self._take(part, all_deferred(part.block, error, self._work.plan, self._rows))

    def _take(self, part: Part, made: Made) -> None:
        self._work.tally.merge(made.counted)
        if part.of.take(part, made.tables):
            self._tasks.start(self._write(part.of))

    async def _write(self, block: OpenBlock) -> None:
        await self._writing.add(block)
        self._reading.written(block)
        self._changed.set()

    async def _ask(self, hand: Hand) -> None:
        """What a worker has to tell, now and then: notes and money do not wait for a block to be done."""
        while hand in self._open:
            await self._work.clock.sleep(max(1.0, self._crew.wanted / 100))
            try:
                await self._hear(hand)
            except Gone as gone:
                await self._died(hand, gone)

    async def _hear(self, hand: Hand) -> None:
        news = await hand.news()
        self._hearing.hear(hand, news)
        if news.stopped_by is not None and self._stopped_by is None:
            self._stopped_by = news.stopped_by
            for other in self._open:
                self._tasks.start(self._halt(other, news.stopped_by))
            self._defer_waiting(news.stopped_by)

    async def _halt(self, hand: Hand, error: Misconfigured) -> None:
        with contextlib.suppress(Gone):  # whoever waits for its parts hears of it, too
            await hand.halt(error)

    async def _watch(self) -> None:
        """Over the cluster as a whole."""
        try:
            await self._crew.watch(self._work.note)
        except LoomError as error:
            if not self._reading.records or (isinstance(error, Misconfigured) and not self._writing.written):
                raise
            self._give_up(error)

    def _stop(self) -> None:
        """What was not begun is read again by the next start."""
        self._stopping = True
        self._tasks.start(self._drain())

    async def _drain(self) -> None:
        await asyncio.gather(*(self._dismiss(hand, stopped=True) for hand in tuple(self._open)))
        self._drained = True
        self._changed.set()

    async def _dismiss(self, hand: Hand, *, stopped: bool = False) -> None:
        """What it has to tell last, and its end."""
        with contextlib.suppress(Gone, TimeoutError):
            async with asyncio.timeout(self._work.plan.pace.drain + _LATE):
                if stopped:
                    await hand.stop()
                    await asyncio.gather(*self._settling.get(hand, ()))  # its last results are on their way
                await self._hear(hand)
                await hand.leave()
