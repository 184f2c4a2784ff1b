"""A cluster of any size in virtual time: what is decided is decided by the code that decides it in a run.

Real: the till with its ledger (a SQLite file), the workers' lines to it, their endpoints with limiter (level, pace, breaker, retries) and the
sharing of limits. Stand-ins: the provider (answers after a while, refuses above its cap), CPUs (one thing after the other, each as
long as was measured), disk and network (so many milliseconds), the store's table (a dictionary).
"""

from __future__ import annotations

import asyncio
import itertools
import math
import tempfile
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from benchmarks.capacity import EACH, PAUSE
from benchmarks.stand_ins import Cpu, Provider, Scene, Seen, Store
from benchmarks.virtual_time import VirtualClock, inside, kill, run
from loom_dagster.cluster.limits import Limits
from loom_dagster.cluster.line import Line
from loom_dagster.errors import OverBudget
from loom_dagster.gateway import Origin
from loom_dagster.gateway.charge import Charge
from loom_dagster.gateway.endpoint import Endpoint
from loom_dagster.gateway.limiter import Limiter
from loom_dagster.gateway.sharing import Sharing
from loom_dagster.ledger.exchange import Message
from loom_dagster.ledger.ledger import Ledger
from loom_dagster.ledger.process import this_process
from loom_dagster.ledger.rows import Budgets
from loom_dagster.ledger.spend import UNIT
from loom_dagster.ledger.till import Till
from loom_dagster.records import Answer, Usage

__all__ = ["simulate"]

_USAGE = Usage(input_tokens=1, output_tokens=1)
_ORIGIN = Origin(pipeline="simulated", record_id="", purpose="transform")


def simulate(scene: Scene) -> Seen:
    """What happens in ``scene``; the same for the same seed."""

    async def play(folder: Path) -> Seen:
        return await _Cluster(scene, folder).play()

    memory = Path("/dev/shm")  # noqa: S108 - where there is one, nobody waits for the real disk
    where = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="loom-simulated-", dir=where) as folder:
        return run(play(Path(folder)), threads=scene.commit)


class _Desk:
    """The till's process: its CPU, and a till that is made anew when it was killed."""

    def __init__(self, scene: Scene, clock: VirtualClock, seen: Seen, folder: Path) -> None:
        self._scene, self._clock, self._seen = scene, clock, seen
        self.cpu, self._ledger, self._store = Cpu(clock), Ledger(folder / "ledger.db"), Store(scene.commit)
        self._run = self._ledger.begin_run("simulated", "", fingerprint="")
        self._lives = 0
        self._till, self._there = self._begun(), asyncio.Event()
        self._there.set()

    def _begun(self) -> Till:
        self._lives += 1
        budgets = Budgets(run=self._scene.budget)
        return Till(self._ledger, self._store, self._run, budgets, this_process(), clock=self._clock)

    async def exchange(self, worker: str, message: tuple[Any, ...]) -> tuple[Any, ...]:
        """Raises ConnectionError when the till is away, or is killed meanwhile."""
        scene = self._scene
        await asyncio.sleep(scene.network)
        if not self._there.is_set():
            raise ConnectionError("the till is away")
        reply = inside(f"till {self._lives}", self._worked_on(worker, message))
        await asyncio.wait([reply])
        if reply.cancelled():
            raise ConnectionError("the till was killed")
        await asyncio.sleep(scene.network)
        return reply.result()

    async def _worked_on(self, worker: str, message: tuple[Any, ...]) -> tuple[Any, ...]:
        self._seen.exchanges += 1
        told = Message(*message)
        calls = (len(told.finds) + len(told.wants) + len(told.puts)) / 3
        await self.cpu.take(
            (self._scene.measured.till_exchange + calls * self._scene.measured.till_call) / 1000
        )
        return await self._till.exchange(worker, message)

    async def lost(self, worker: str) -> None:
        """Said again to the next till when this one is killed meanwhile, as Ray does."""
        while True:
            await self._there.wait()
            done = inside(f"till {self._lives}", self._till.lost(worker))
            await asyncio.wait([done])
            if not done.cancelled():
                return done.result()

    async def goes(self, when: float, comes: float) -> None:
        """It is killed, and begins anew."""
        await asyncio.sleep(when)
        self._there.clear()
        kill(f"till {self._lives}")
        await asyncio.sleep(comes - when)
        self._till = self._begun()
        self._there.set()

    async def spent(self) -> float:
        """USD, with what nobody knows at its worst case, by the books."""
        await self._there.wait()
        entries = (await self._till.books()).values()
        return sum(entry.spent + entry.unconfirmed for entry in entries) * UNIT


class _Limits(Limits):
    """In virtual time, what a thread would wait for is awaited."""

    def _ask(self, rows: tuple[tuple[str, int, int, int], ...]) -> Any:
        done: Future[Any] = Future()
        self._add(rows, done)
        return asyncio.shield(asyncio.wrap_future(done))


def _line(worker: str, desk: _Desk, scene: Scene, clock: VirtualClock) -> Line:
    line = Line(
        worker, lambda message: desk.exchange(worker, message), limited=scene.budget is not None, clock=clock
    )
    line.shares = _Limits(line._wake, asyncio.get_running_loop())  # noqa: SLF001 - nowhere else is time virtual
    line._parts = (line.store, line.spend, line.shares)  # noqa: SLF001
    return line


class _Worker:
    def __init__(self, name: str, cluster: _Cluster) -> None:
        self.name, self._cluster, scene = name, cluster, cluster.scene
        clock = cluster.clock
        self._line, self.cpu = _line(name, cluster.desk, scene, clock), Cpu(clock)
        limiter = Limiter(
            in_flight=scene.in_flight, clock=clock, requests_per_minute=scene.requests_per_minute
        )
        self._sharing = Sharing(self._line.shares, clock=clock, note=lambda text: None)
        self._endpoint = Endpoint(
            "simulated", limiter, clock=clock, patience=120.0, note=lambda text: None,
            join=lambda: self._sharing.add({"simulated": limiter}),
        )  # fmt: skip
        self._stock = 0
        self._stocked = asyncio.Lock()
        self._keys = (f"{name}/{n}".encode() for n in itertools.count())
        # as many as fill the share while others wait for the three messages of a call
        waits = 3 * (PAUSE + EACH * scene.workers)
        open_ = math.ceil(scene.in_flight / scene.workers * (1.5 + waits / scene.latency)) + 1
        self.records = [inside(name, self._settle_records()) for _ in range(open_)]

    async def leave(self) -> None:
        await self._sharing.leave()
        await self._line.close()

    async def _settle_records(self) -> None:
        cluster, measured = self._cluster, self._cluster.scene.measured
        cost = (measured.worker_record + measured.worker_call) / 2000
        while await self._take():
            try:
                await self.cpu.take(cost)
                key = next(self._keys)
                await self._line.store.find(key)
                charge = Charge(self._line.spend, key, cluster.scene.worst)
                await self._endpoint.call(
                    cluster.provider.send, lambda reply, key=key, charge=charge: self._keep(key, charge), charge,
                    max_attempts=20, tokens=0,
                )  # fmt: skip
                await self.cpu.take(cost)
            except OverBudget:
                cluster.over_budget()
            else:
                cluster.settled()
            finally:
                self._line.store.asked(key)

    async def _keep(self, key: bytes, charge: Charge) -> None:
        price = self._cluster.scene.price
        try:
            await self._line.store.put(Answer(key=key, model="", text="", usage=_USAGE, cost=price), _ORIGIN)
        finally:
            charge.paid(price, _USAGE)

    async def _take(self) -> bool:
        """A record, of a block that the driver has read."""
        async with self._stocked:
            if self._stock == 0:
                self._stock = await self._cluster.block()
            if self._stock == 0 or self._cluster.stopped is not None:
                return False
            self._stock -= 1
            return True


class _Cluster:
    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene, self.seen, self.clock = scene, Seen(), VirtualClock(scene.seed)
        self.provider = Provider(scene, self.clock, self.seen)
        self.desk, self._driver = _Desk(scene, self.clock, self.seen, folder), Cpu(self.clock)
        self.stopped: float | None = None
        self.workers: list[_Worker] = []
        self._left = math.inf if scene.records is None else scene.records
        self._warm = 0

    async def play(self) -> Seen:
        scene = self.scene
        self.workers = [_Worker(f"worker-{i}", self) for i in range(scene.workers)]
        timers = [asyncio.create_task(self._warmed())]
        if scene.dies is not None:
            timers.append(asyncio.create_task(self._dies(*scene.dies)))
        if scene.down is not None:
            timers.append(asyncio.create_task(self.desk.goes(*scene.down)))
        ends = scene.seconds if scene.records is None else math.inf
        while (left := ends - self.clock.monotonic()) > 0:
            open_ = [task for worker in self.workers for task in worker.records if not task.done()]
            open_ += [timer for timer in timers[1:] if not timer.done()]
            if not open_:
                break
            await asyncio.wait(
                open_, timeout=min(left, 1.0)
            )  # one that starts meanwhile is seen at the next look
        seen = self.seen
        seen.seconds = self.clock.monotonic()
        seen.rate = (seen.done - self._warm) / max(seen.seconds - scene.warm, 1e-9)
        seen.till, seen.driver = self.desk.cpu.busy / seen.seconds, self._driver.busy / seen.seconds
        seen.worker = sum(worker.cpu.busy for worker in self.workers) / scene.workers / seen.seconds
        if self.stopped is not None:
            seen.stall = seen.seconds - self.stopped
        if scene.records is not None:
            await asyncio.gather(*(worker.leave() for worker in self.workers))
            seen.booked = await self.desk.spent()
        return seen

    async def _warmed(self) -> None:
        await asyncio.sleep(self.scene.warm)
        self._warm = self.seen.done

    async def _dies(self, when: float, noticed: float, starts: float) -> None:
        await asyncio.sleep(when)
        name = self.workers[0].name
        kill(name)
        await asyncio.sleep(noticed)
        await self.desk.lost(name)
        await asyncio.sleep(starts)
        self.workers[0] = _Worker("another", self)

    async def block(self) -> int:
        """Records that the driver has read, cut and will write: 0 when there are no more."""
        took = int(min(self.scene.block, self._left))
        if self.stopped is not None or not took:
            return 0
        self._left -= took
        await self._driver.take(took * self.scene.measured.driver_record / 1000)
        return took

    def settled(self) -> None:
        self.seen.done += 1

    def over_budget(self) -> None:
        self.seen.deferred += 1
        if self.stopped is None:
            self.stopped = self.clock.monotonic()
