"""What a simulated cluster meets: the scene, and stand-ins for what takes time there."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.capacity import Measured
from benchmarks.virtual_time import VirtualClock
from loom_dagster.gateway.failures import Throttled
from loom_dagster.gateway.lane import Reply
from loom_dagster.records import Answer, Usage

__all__ = ["Cpu", "Provider", "Scene", "Seen", "Store"]

_USAGE = Usage(input_tokens=1, output_tokens=1)


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
    down: tuple[float, float] | None = None
    dies: tuple[float, float, float] | None = None
    commit: float = 0.004
    network: float = 0.0005
    block: int = 256
    seed: int = 0


@dataclass(slots=True)
class Seen:
    """``rate``: records a second between warm-up and the end. ``gap``: the longest time without a call being sent, after the first.
    ``most``: calls that the provider had at once; ``paid`` USD, and ``booked``, with what nobody knows at its worst case; ``stall``: from the first refusal of money to the end of the run."""

    rate: float = 0.0
    done: int = 0
    deferred: int = 0
    most: int = 0
    refused: int = 0
    paid: float = 0.0
    booked: float = 0.0
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


class Cpu:
    """One core: first come, first served."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self._free_at, self.busy = clock, 0.0, 0.0

    async def take(self, seconds: float) -> None:
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now) + seconds
        self.busy += seconds
        await asyncio.sleep(self._free_at - now)


class Provider:
    """Answers after a while; refuses what is above its cap at once."""

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


class Store:
    """What is stored, for the till."""

    def __init__(self, commit: float) -> None:
        self._commit = commit
        self._rows: dict[bytes, tuple[Any, ...]] = {}

    def get(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        row = self._rows.get(key)
        return None if row is None else Answer(key=key, model="", text="", cost=row[7])

    async def put_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        await asyncio.sleep(self._commit)
        self._rows.update((row[0], row) for row in rows)

    async def get_many(self, keys: Collection[bytes]) -> dict[bytes, tuple[Any, ...]]:
        return {key: self._rows[key] for key in keys if key in self._rows}
