"""A worker: settles blocks of records with the code of a local run, one long stream of them.

A Ray actor is made of it; it knows nothing of Ray itself. Several blocks are open at once, so that the calls in flight
never drain between two of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import queue
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from loom_dagster.clock import SystemClock
from loom_dagster.cluster.blocks import Block, Made, packed_tables, unpacked
from loom_dagster.cluster.bundle import unbundle
from loom_dagster.cluster.line import Line
from loom_dagster.cluster.news import News
from loom_dagster.errors import Misconfigured
from loom_dagster.gateway import Asks
from loom_dagster.pipeline import Deferred, Fate, Pace, Route, Stop, Tally, stream
from loom_dagster.pipeline.plan import Heard, Noted
from loom_dagster.records import Batch, Quarantined
from loom_dagster.release import BatchResult
from loom_dagster.release.rows import Rows

__all__ = ["Exchange", "Identity", "Kit", "Kits", "Worker", "versions_here"]

Exchange = Callable[[tuple[Any, ...]], Awaitable[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What has to be the same on every node, or records would be settled by different code."""

    python: str
    loom: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Kit:
    """What a worker settles records with, made of the project's files as a local run makes it."""

    fingerprint: str
    gateway: Callable[[Line, Heard, Noted], AbstractAsyncContextManager[Asks]]
    route: Callable[[Asks, Mapping[str, int]], Route]
    rows: Rows
    evaluators: Sequence[tuple[str, str, float]]
    pace: Pace
    limited: bool


class Kits(Protocol):
    """Makes the kit of a project in ``folder``; plain values only, as it travels to the nodes."""

    @property
    def identity(self) -> Identity: ...

    def make(self, folder: Path) -> Kit:
        """Raises LoomError for what cannot be made here."""


class Worker:
    """One worker of one run. All methods are called from one event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._blocks: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._came = 0
        self._waiting: dict[int, asyncio.Future[Made | None]] = {}
        self._stop, self._notes = Stop(), list[str]()
        self._samples: dict[str, int] = {}
        self._settled = _Settled()
        self._folder: Path | None = None
        self._running: asyncio.Task[None] | None = None

    async def prepare(
        self, kits: Kits, bundle: bytes, environ: Mapping[str, str], exchange: Exchange
    ) -> None:
        """Make ready. ``environ``: variables that this node may lack. Raises Misconfigured when it would settle
        records otherwise than the one who sent them, and whatever the project's files say cannot be."""
        for name, value in environ.items():
            os.environ.setdefault(name, value)
        _check_versions(kits.identity)
        self._folder = await asyncio.to_thread(unbundle, bundle)
        kit = await asyncio.to_thread(kits.make, self._folder)
        if kit.fingerprint != kits.identity.fingerprint:
            raise Misconfigured(
                "a worker's pipeline is not the one that the run has begun with",
                why="its fingerprint is different there",
                fix="give all nodes the same files and environment (models, addresses) and run again",
                kind="cluster",
            )
        self._kit = kit
        self._heard = self._new_tally()
        self._line = Line(self._name, exchange, limited=kit.limited, clock=SystemClock())
        self._route: Route | None = None
        self._running = asyncio.create_task(self._run())

    async def settle(self, block: Block) -> Made | None:
        """What became of the records of ``block``; None when the worker was stopped before it came to them."""
        if self._running is None or self._running.done():
            return None
        number, self._came = self._came, self._came + 1
        waiting: asyncio.Future[Made | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        batch = unpacked(block)
        self._samples.update(block.samples)
        self._blocks.put(batch)
        return await waiting

    async def news(self) -> News:
        """What there is to tell. It is told once."""
        heard, self._heard = self._heard, self._new_tally()
        notes, self._notes = self._notes, []
        route = self._route
        return News(
            counted=heard.counted(),
            notes=notes,
            settled=self._settled.counts(),
            stopped_by=None if route is None else route.stopped_by,
            over_budget=None if route is None else route.over_budget,
        )

    async def halt(self, error: Misconfigured) -> None:
        """Another worker met what stops the run: what comes now is deferred."""
        if self._route is not None and self._route.stopped_by is None:
            self._route.stopped_by = error

    async def stop(self) -> None:
        """Take in no more; returns when what was in flight is settled."""
        self._stop.request()
        await self.leave()

    async def leave(self) -> None:
        """There will be no more blocks."""
        self._blocks.put(None)
        if self._running is not None:
            await asyncio.wait([self._running])
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _run(self) -> None:
        """The stream of all blocks. An error that is nobody's record goes to all who wait."""
        kit = self._kit
        try:
            async with kit.gateway(self._line, self._heard_of, self._notes.append) as asks:
                self._route = kit.route(asks, self._samples)
                self._writer = _Writer(kit, self._written, asyncio.get_running_loop())
                await stream(
                    self._arriving(),
                    self._route,
                    self._writer,
                    self._settled,
                    self._stop,
                    pace=kit.pace,
                    on_tick=lambda: None,
                )
        except Exception as error:  # noqa: BLE001 - it is raised where the block was sent from
            self._end(error)
        finally:
            with contextlib.suppress(Exception):  # the run's money and answers are with the till already
                await self._line.close()
            self._end(None)

    def _arriving(self) -> Iterator[Batch]:
        """In the reading thread."""
        while not self._stop.requested and (batch := self._blocks.get()) is not None:
            yield batch

    def _heard_of(self, question: Any, answer: Any) -> None:
        self._heard.listen(question, answer)

    def _written(self, number: int, made: Made | Exception) -> None:
        waiting = self._waiting.pop(number)
        if isinstance(made, Made):
            self._settled.forget(made.counted)
        if waiting.done():
            return
        if isinstance(made, Made):
            waiting.set_result(made)
        else:
            waiting.set_exception(made)

    def _end(self, error: Exception | None) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                if error is None:
                    waiting.set_result(None)
                else:
                    waiting.set_exception(error)
        self._waiting.clear()

    def _new_tally(self) -> Tally:
        return Tally(self._kit.evaluators, SystemClock().monotonic)


class _Settled:
    """How many records of open blocks are settled: what the stream tells of them while it goes on. The whole count
    of a block is made when it is done, so that one that is lost is counted nowhere."""

    def __init__(self) -> None:
        self.passed = self.quarantined = self.deferred = 0

    def take(self, records: int, rejected: Sequence[Quarantined]) -> None:
        self.quarantined += len(rejected)

    def settle(self, fate: Fate) -> None:
        if isinstance(fate, Deferred):
            self.deferred += 1
        elif isinstance(fate, Quarantined):
            self.quarantined += 1
        else:
            self.passed += 1

    def forget(self, counted: Mapping[str, Any]) -> None:
        """Those of a block that is done."""
        self.passed -= counted["passed"]
        self.quarantined -= counted["quarantined"]
        self.deferred -= counted["deferred"]

    def counts(self) -> dict[str, int]:
        return {"passed": self.passed, "quarantined": self.quarantined, "deferred": self.deferred}


class _Writer:
    """Makes the rows of a block in the stream's writing thread."""

    def __init__(
        self, kit: Kit, done: Callable[[int, Made | Exception], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._kit, self._done, self._loop = kit, done, loop

    def add(self, result: BatchResult) -> None:
        made: Made | Exception
        try:
            made = Made(
                tables=packed_tables(self._kit.rows.of(result)),
                counted=_counted(result, self._kit.evaluators),
            )
        except Exception as error:  # noqa: BLE001 - it is raised where the block was sent from
            made = error
        # the stream numbers pieces as they come, and a block is one piece
        self._loop.call_soon_threadsafe(self._done, result.batch.index, made)


def _counted(result: BatchResult, evaluators: Sequence[tuple[str, str, float]]) -> Mapping[str, Any]:
    tally = Tally(evaluators, float)
    tally.take(len(result.batch.records), result.batch.rejected)
    for passed in result.passed:
        tally.settle(passed)
    rejected = {id(row) for row in result.batch.rejected}
    for failed in result.quarantined:
        if id(failed) not in rejected:
            tally.settle(failed)
    for record_id, position, reason in result.deferred:
        tally.settle(Deferred(id=record_id, position=position, reason=reason))
    return tally.counted()


def _check_versions(wanted: Identity) -> None:
    """Before anything is unpacked: other versions may read the same files differently."""
    here = versions_here()
    for what, theirs, ours in (
        ("Python", here.python, wanted.python),
        ("loom_dagster", here.loom, wanted.loom),
    ):
        if theirs != ours:
            raise Misconfigured(
                f"the cluster has {what} {theirs}, and this run has {what} {ours}",
                fix=f"install {what} {ours} on all nodes, or run from where {theirs} is",
                kind="cluster",
            )


def versions_here(fingerprint: str = "") -> Identity:
    """Of this process."""
    import importlib.metadata

    return Identity(
        python=".".join(platform.python_version_tuple()[:2]),
        loom=importlib.metadata.version("loom-dagster"),
        fingerprint=fingerprint,
    )
