"""A cluster of any size in virtual time: what is decided is decided by the code that decides it in a run.

Real: an endpoint with its limiter (level, pace, breaker, retries), the sharing of limits and how they are divided, the room in a
budget. Stand-ins: the provider (answers after a while, refuses above its cap), CPUs (one thing after the other, each as long as was
measured), the till's disk, the network. Till and line do what ledger/till.py and cluster/line.py do: one exchange at a time for each worker,
which takes everything that gathered, and one commit for all exchanges that wait.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.capacity import Measured
from benchmarks.virtual_time import VirtualClock, run
from loom_dagster.errors import OverBudget
from loom_dagster.gateway.charge import Charge
from loom_dagster.gateway.endpoint import Endpoint
from loom_dagster.gateway.failures import Throttled
from loom_dagster.gateway.lane import Reply
from loom_dagster.gateway.limiter import Limiter
from loom_dagster.gateway.sharing import Demand, Sharing
from loom_dagster.ledger.room import Room
from loom_dagster.ledger.shares import Grant, divide
from loom_dagster.ledger.spend import UNIT, Sums
from loom_dagster.records import Account, Usage

__all__ = ["Scene", "Seen", "simulate"]

_FIND, _PUT, _DONE = "find", "put", "done"
_NOBODY = Account()


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Seconds. ``cap``: what the provider takes at a time, ``in_flight``: what we are allowed; ``records`` None: more than can be done
    in ``seconds``. A call costs ``price`` USD and at most ``worst``. ``down``: the till is away (from, until); ``dies``: when a worker
    does, and after how long that is noticed and another one has started."""

    workers: int
    measured: Measured = field(default_factory=Measured)
    in_flight: int = 1000
    cap: int | None = None
    requests_per_minute: int | None = None
    latency: float = 1.0
    spread: float = 0.3
    seconds: float = 30.0
    warm: float = 5.0
    records: int | None = None
    budget: float | None = None
    price: float = 0.0005
    worst: float = 0.002
    down: tuple[float, float] = (math.inf, math.inf)
    dies: tuple[float, float, float] | None = None
    commit: float = 0.004
    network: float = 0.0005
    block: int = 256
    seed: int = 0


@dataclass(slots=True)
class Seen:
    """``rate``: records a second between warm-up and the end. ``gap``: the longest time without a call being sent, after the first.
    ``most``: calls that the provider had at once; ``paid`` USD; ``stall``: from the first refusal of money to the end of the run."""

    rate: float = 0.0
    done: int = 0
    deferred: int = 0
    most: int = 0
    refused: int = 0
    paid: float = 0.0
    gap: float = 0.0
    stall: float = 0.0
    till: float = 0.0
    worker: float = 0.0
    driver: float = 0.0
    exchanges: int = 0
    calls: int = 0
    seconds: float = 0.0

    @property
    def calls_an_exchange(self) -> float:
        return self.calls / max(self.exchanges, 1)


def simulate(scene: Scene) -> Seen:
    """What happens in ``scene``; the same for the same seed."""
    return run(_Cluster.play(scene))


class _Cpu:
    """One core: first come, first served."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self._free_at, self.busy = clock, 0.0, 0.0

    async def take(self, seconds: float) -> None:
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now) + seconds
        self.busy += seconds
        await asyncio.sleep(self._free_at - now)


class _Provider:
    def __init__(self, scene: Scene, clock: VirtualClock, seen: Seen) -> None:
        self._cap = scene.cap if scene.cap is not None else math.inf
        self._clock, self._seen, self._scene = clock, seen, scene
        self._draw = random.Random(scene.seed)  # noqa: S311 - no secret
        self._open = 0
        self._last: float | None = None

    async def send(self) -> Reply:
        now, seen, scene = self._clock.monotonic(), self._seen, self._scene
        if self._last is not None:
            seen.gap = max(seen.gap, now - self._last)
        self._last = now
        if self._open >= self._cap:
            seen.refused += 1
            raise Throttled("too many requests")
        self._open += 1
        seen.most = max(seen.most, self._open)
        try:
            # the mean of exp(N(m, s)) is exp(m + s*s/2)
            await asyncio.sleep(
                scene.latency * math.exp(self._draw.gauss(-(scene.spread**2) / 2, scene.spread))
            )
        finally:
            self._open -= 1
        seen.paid += scene.price
        seen.calls += 1
        return Reply(text="", usage=_USAGE)


_USAGE = Usage(input_tokens=1, output_tokens=1)


class _Till:
    """Money, limits and answers of all workers; everything that waits is taken at once, and committed once."""

    def __init__(self, scene: Scene, clock: VirtualClock, seen: Seen) -> None:
        self._scene, self._clock, self._seen = scene, clock, seen
        self._limits = {} if scene.budget is None else {"run": math.floor(scene.budget / UNIT)}
        self._spent = self._reserved = 0
        self._wants: deque[tuple[str, int, asyncio.Future[int]]] = deque()
        self._tickets = itertools.count(1)
        self._held: dict[int, tuple[str, int]] = {}
        self._members: dict[str, Demand] = {}
        self._fair: dict[str, int] = {}
        self._divided, self._all = -1.0, 0
        self._queue: list[tuple[str, list[Any], asyncio.Future[list[Any]]]] = []
        self._some = asyncio.Event()
        self.busy = 0.0

    async def exchange(self, worker: str, messages: list[Any]) -> list[Any]:
        await asyncio.sleep(self._scene.network)
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._queue.append((worker, messages, done))
        self._some.set()
        replies = await done
        await asyncio.sleep(self._scene.network)
        return replies

    async def serve(self) -> None:
        measured, (goes, comes) = self._scene.measured, self._scene.down
        while True:
            await self._some.wait()
            took, self._queue = self._queue, []
            self._some.clear()
            items = sum(kind in (_FIND, int, _PUT) for _, messages, _ in took for kind, *_ in messages)
            cpu = (len(took) * measured.till_exchange + items * measured.till_call / 3) / 1000
            await asyncio.sleep(cpu + self._scene.commit)
            self.busy += cpu
            if goes <= self._clock.monotonic() < comes:  # killed; what was sent to it is sent again
                await asyncio.sleep(comes - self._clock.monotonic())
            self._seen.exchanges += len(took)
            replies = [[self._one(worker, *message) for message in messages] for worker, messages, _ in took]
            self._decide()
            for (_, _, done), reply in zip(took, replies, strict=True):
                if not done.done():
                    done.set_result(reply)

    def lost(self, worker: str) -> None:
        """Its calls in flight count at their worst case, its limits are free."""
        self._member(worker, None)
        self._divided = -1.0
        for ticket in [ticket for ticket, (of, _) in self._held.items() if of == worker]:
            self._spent += self._settled(ticket)
        self._wants = deque(want for want in self._wants if want[0] != worker)

    def _settled(self, ticket: int) -> int:
        _, amount = self._held.pop(ticket, ("", 0))
        self._reserved -= amount
        return amount

    def _one(self, worker: str, kind: object, *given: Any) -> Any:
        if kind is int:
            self._wants.append((worker, *given))
        elif kind == _DONE:
            ticket, cost = given
            amount = self._settled(ticket)
            self._spent += amount if cost is None else cost
        elif kind is Demand:
            return self._grant(worker, given[0])
        return None

    def _grant(self, worker: str, demand: Demand) -> Grant:
        """As LimitShares, in memory; shares are divided anew five times a second at most."""
        now, limit = self._clock.monotonic(), self._scene.in_flight
        self._member(worker, demand)
        if now - self._divided >= 0.2 or worker not in self._fair:
            self._divided = now
            bounds = [(each.most, each.wanted) for each in self._members.values()]
            self._fair = dict(zip(self._members, divide(limit, bounds), strict=True))
        fair, held = self._fair[worker], demand.held
        slots = fair if fair <= held else max(held, min(fair, limit - (self._all - held)))
        self._member(worker, Demand(most=demand.most, held=max(held, slots), wanted=demand.wanted))
        return Grant(slots=slots, of=limit)

    def _member(self, worker: str, demand: Demand | None) -> None:
        old = self._members.pop(worker, None)
        self._all += (demand.held if demand else 0) - (old.held if old else 0)
        if demand is not None:
            self._members[worker] = demand

    def _decide(self) -> None:
        room = Room(self._limits, {"run": Sums(spent=self._spent)}, ours=self._reserved)
        while self._wants:
            worker, amount, done = self._wants[0]
            if not self._limits or room.fits(amount):
                ticket = next(self._tickets)
                self._held[ticket] = (worker, amount)
                self._reserved += amount
                if not done.done():
                    done.set_result(ticket)
            elif room.may_fit_later(amount):
                return
            elif not done.done():
                done.set_exception(room.refusal(amount, "simulated"))
            self._wants.popleft()


class _Line:
    """A worker's side of the till: store, spend and shares."""

    limited = True

    def __init__(self, worker: str, till: _Till) -> None:
        self._worker, self._till = worker, till
        self._out: list[tuple[Any, ...]] = []
        self._told: list[asyncio.Future[Any]] = []
        self._some = asyncio.Event()

    async def serve(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            out, told, self._out, self._told = self._out, self._told, [], []
            for future, reply in zip(told, await self._till.exchange(self._worker, out), strict=True):
                if not future.done():
                    future.set_result(reply)

    def say(self, *message: Any) -> asyncio.Future[Any]:
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._out.append(message)
        self._told.append(told)
        self._some.set()
        return told

    async def reserve(self, key: bytes, worst: float, account: Account = _NOBODY) -> int:
        granted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.say(int, math.ceil(worst / UNIT), granted)
        return await granted

    def settle(
        self, ticket: int, cost: float | None, account: Account = _NOBODY, usage: Usage = _USAGE
    ) -> None:
        self.say(_DONE, ticket, round((cost or 0.0) / UNIT))

    def release(self, ticket: int) -> None:
        self.say(_DONE, ticket, 0)

    def lose(self, ticket: int, account: Account = _NOBODY) -> None:
        self.say(_DONE, ticket, None)

    async def _beat(self, demands: Mapping[str, Demand]) -> Mapping[str, Grant]:
        return {name: await self.say(Demand, demand) for name, demand in demands.items()}

    def beat(self, demands: Mapping[str, Demand]) -> Any:
        """In virtual time, what a thread would wait for is awaited."""
        return self._beat(demands)

    def leave(self) -> None: ...


class _Worker:
    def __init__(self, name: str, cluster: _Cluster) -> None:
        self.name, self._cluster, scene = name, cluster, cluster.scene
        clock = cluster.clock
        self._line, self.cpu = _Line(name, cluster.till), _Cpu(clock)
        limiter = Limiter(
            in_flight=scene.in_flight, clock=clock, requests_per_minute=scene.requests_per_minute
        )
        self._sharing = Sharing(self._line, clock=clock, note=lambda text: None)
        self._endpoint = Endpoint(
            "simulated", limiter, clock=clock, patience=120.0, note=lambda text: None,
            join=lambda: self._sharing.add({"simulated": limiter}),
        )  # fmt: skip
        self._stock = 0
        self._stocked = asyncio.Lock()
        self._tasks = [asyncio.create_task(self._line.serve())]
        open_ = math.ceil(1.5 * scene.in_flight / scene.workers) + 1
        self.records = [asyncio.create_task(self._settle_records()) for _ in range(open_)]

    async def kill(self) -> None:
        for task in (*self._tasks, *self.records):
            task.cancel()
        await asyncio.gather(*self._tasks, *self.records, return_exceptions=True)
        await self._sharing.leave()

    async def _settle_records(self) -> None:
        cluster, measured = self._cluster, self._cluster.scene.measured
        cost = (measured.worker_record + measured.worker_call) / 2000
        while await self._take():
            try:
                await self.cpu.take(cost)
                await self._line.say(_FIND)
                charge = Charge(self._line, b"", cluster.scene.worst)
                await self._endpoint.call(
                    cluster.provider.send, lambda reply, charge=charge: self._keep(charge), charge,
                    max_attempts=20, tokens=0,
                )  # fmt: skip
                await self.cpu.take(cost)
            except OverBudget:
                cluster.over_budget()
            else:
                cluster.settled()

    async def _keep(self, charge: Charge) -> None:
        await self._line.say(_PUT)
        charge.paid(self._cluster.scene.price)

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
    def __init__(self, scene: Scene) -> None:
        self.scene, self.seen, self.clock = scene, Seen(), VirtualClock(scene.seed)
        self.provider = _Provider(scene, self.clock, self.seen)
        self.till, self._driver = _Till(scene, self.clock, self.seen), _Cpu(self.clock)
        self.stopped: float | None = None
        self.workers: list[_Worker] = []
        self._left = math.inf if scene.records is None else scene.records
        self._warm = 0

    @classmethod
    async def play(cls, scene: Scene) -> Seen:
        cluster = cls(scene)
        serving = asyncio.create_task(cluster.till.serve())
        cluster.workers = [_Worker(f"worker-{i}", cluster) for i in range(scene.workers)]
        try:
            await cluster._run()
        finally:
            serving.cancel()
            await asyncio.gather(*(worker.kill() for worker in cluster.workers))
        return cluster._sum()

    async def _run(self) -> None:
        scene = self.scene
        timers = [asyncio.create_task(self._warmed())]
        if scene.dies is not None:
            timers.append(asyncio.create_task(self._dies(*scene.dies)))
        ends = scene.seconds if scene.records is None else math.inf
        while (left := ends - self.clock.monotonic()) > 0:
            open_ = [task for worker in self.workers for task in worker.records if not task.done()]
            open_ += [timer for timer in timers[1:] if not timer.done()]  # one that starts another worker
            if not open_:
                break
            await asyncio.wait(open_, timeout=min(left, 1.0))
        self.seen.seconds = self.clock.monotonic()
        for timer in timers:
            timer.cancel()

    async def _warmed(self) -> None:
        await asyncio.sleep(self.scene.warm)
        self._warm = self.seen.done

    async def _dies(self, when: float, noticed: float, starts: float) -> None:
        await asyncio.sleep(when)
        worker = self.workers[0]
        await worker.kill()
        await asyncio.sleep(noticed)
        self.till.lost(worker.name)
        await asyncio.sleep(starts)
        self.workers[0] = _Worker("another", self)

    def _sum(self) -> Seen:
        seen, scene = self.seen, self.scene
        seen.rate = (seen.done - self._warm) / max(seen.seconds - scene.warm, 1e-9)
        seen.till = self.till.busy / seen.seconds
        seen.driver = self._driver.busy / seen.seconds
        seen.worker = sum(worker.cpu.busy for worker in self.workers) / scene.workers / seen.seconds
        if self.stopped is not None:
            seen.stall = seen.seconds - self.stopped
        return seen

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
