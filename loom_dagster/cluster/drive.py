"""The driver's side: blocks go out to workers, results come back in any order, and what a dead worker had goes to others.

Whatever happens to workers, each record is counted and written once: a part's count comes with its tables, as one
result, and a part is with one worker at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from loom_dagster.cluster.blocks import Made, read_back
from loom_dagster.cluster.hands import Crew, Gone, Hand
from loom_dagster.cluster.made_here import all_deferred, all_killing
from loom_dagster.cluster.reading import Reading
from loom_dagster.cluster.suspects import OpenBlock, Part, after_death
from loom_dagster.errors import LoomError, Misconfigured, OverBudget
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
        self._known: dict[Hand, Counter[str]] = {}  # what each has settled of open parts
        self._most = _OPEN + -(-2 * work.plan.pace.workers // _BLOCK)
        self._written = self._poison = self._fruitless = 0
        self._stopping = self._drained = False
        self._fatal: BaseException | None = None
        self._stopped_by: LoomError | None = None
        self._over_budget: OverBudget | None = None
        self._changed, self._tasks = asyncio.Event(), set[asyncio.Task[Any]]()
        self._wanted, self._given_up = asyncio.Event(), asyncio.Event()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="loom-write")

    async def run(self) -> Streamed:
        """Until every record is settled, or ``stop`` is asked for. Raises what no record is to blame for."""
        loop = asyncio.get_running_loop()

        def stop_soon() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the run has ended by itself
                loop.call_soon_threadsafe(self._stop)

        self._work.stop.when_requested(stop_soon)
        for each in (self._read(), self._tell(), self._watch()):
            self._start(each)
        for _ in range(self._crew.wanted):
            self._start(self._hire())
        try:
            while not self._ended:
                self._assign()
                self._changed.clear()
                await self._changed.wait()
            if self._fatal is None and not self._stopping:
                await asyncio.gather(*(self._dismiss(hand) for hand in tuple(self._open)))
        finally:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._reading.close()
            await asyncio.to_thread(self._writer.shutdown)
        if self._fatal is not None:
            raise self._fatal
        return Streamed(
            batches=self._written,
            interrupted=self._work.stop.requested,
            failure=self._reading.failure,
            stopped_by=self._stopped_by,
            over_budget=self._over_budget,
        )

    @property
    def _ended(self) -> bool:
        if self._fatal is not None or self._drained:
            return True
        reading = self._reading
        return reading.exhausted and self._written == reading.blocks

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
            self._start(self._ask(hand))
            self._changed.set()
            return

    def _assign(self) -> None:
        """Parts to workers with room; a suspect only to one that has nothing else, and that gets nothing else."""
        if self._stopping:
            return
        for hand, parts in self._open.items():
            if self._suspects and not parts:
                self._give(hand, self._suspects.popleft())
        able = [h for h, parts in self._open.items() if not any(p.suspect for p in parts)]
        if self._suspects and able:
            able.remove(min(able, key=self._load))  # it will be free for them
        while self._fresh and able:
            hand = min(able, key=self._load)
            if self._load(hand) >= self._most:
                break
            self._give(hand, self._fresh.popleft())
            self._wanted.set()

    def _load(self, hand: Hand) -> int:
        return len(self._open[hand])

    def _give(self, hand: Hand, part: Part) -> None:
        self._open[hand].add(part)
        settling = self._start(self._settle(hand, part))
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
            self._fruitless = 0
            self._known.pop(hand, None)  # told again soon, without this part
            self._take(part, made)
        self._changed.set()

    # what goes wrong

    async def _died(self, hand: Hand, gone: Gone) -> None:
        """Once for each worker. Its parts go to others when the till has settled what it had in flight."""
        parts = self._open.pop(hand, None)
        self._known.pop(hand, None)
        if parts is None:
            return
        hand.kill()
        await self._until_given_up(self._crew.lost(hand))
        self._count_death(gone)
        self._start(self._hire())
        for part in sorted(parts, key=lambda p: (p.of.whole.index, p.first), reverse=True):
            if self._stopped_by is None:
                self._suspect(part, gone)
            else:
                self._defer(part, self._stopped_by)
        self._changed.set()

    async def _until_given_up(self, losing: Coroutine[Any, Any, None]) -> None:
        """A till that is away answers never, and then there is no more to be done than to wait for who watches it."""
        both = [asyncio.create_task(losing), asyncio.create_task(self._given_up.wait())]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if both[0] in done and isinstance(both[0].exception(), Gone):
                await self._given_up.wait()
        finally:
            for task in both:
                task.cancel()

    def _suspect(self, part: Part, gone: Gone) -> None:
        parts = after_death(part)
        self._suspects.extendleft(reversed(parts))
        if parts:
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

    # what comes out

    def _take(self, part: Part, made: Made) -> None:
        self._work.tally.merge(made.counted)
        if part.of.take(part, made.tables):
            self._start(self._write(part.of))

    async def _write(self, block: OpenBlock) -> None:
        def write() -> None:
            self._work.writer.add_rows(block.whole.index, read_back(block.parts))

        await asyncio.get_running_loop().run_in_executor(self._writer, write)
        self._written += 1
        self._reading.written(block)
        self._changed.set()

    # what is told

    async def _tell(self) -> None:
        work, shown = self._work, Counter[str]()
        while True:
            await work.clock.sleep(work.plan.pace.tick)
            ahead = sum(self._known.values(), Counter())
            for what in ("passed", "quarantined", "deferred"):  # nobody is shown less than before
                counted = getattr(work.tally, what)
                shown[what] = max(shown[what], counted + ahead[what])
                ahead[what] = shown[what] - counted
            ahead["extracted"] = self._reading.records - work.tally.extracted
            work.tally.ahead = ahead
            work.tick()

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
        self._work.tally.merge(news.counted)
        self._known[hand] = Counter(news.settled)
        for text in news.notes:
            self._work.note(text)
        self._over_budget = news.over_budget or self._over_budget
        if news.stopped_by is not None and self._stopped_by is None:
            self._stopped_by = news.stopped_by
            for other in self._open:
                self._start(self._halt(other, news.stopped_by))
            self._defer_waiting(news.stopped_by)

    async def _halt(self, hand: Hand, error: Misconfigured) -> None:
        with contextlib.suppress(Gone):  # whoever waits for its parts hears of it, too
            await hand.halt(error)

    async def _watch(self) -> None:
        """Over the cluster as a whole."""
        try:
            await self._crew.watch(self._work.note)
        except LoomError as error:
            if not self._reading.records or (isinstance(error, Misconfigured) and not self._written):
                raise
            self._give_up(error)

    # how it ends

    def _stop(self) -> None:
        """What was not begun is read again by the next start."""
        self._stopping = True
        self._start(self._drain())

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

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fatal = self._fatal or error
            self._changed.set()
