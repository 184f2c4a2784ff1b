"""A limit holds for a project, whoever asks: every gateway says now and then what it could use of one
and is told what it may."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from loom_dagster.clock import Clock
from loom_dagster.gateway.limiter import Limiter

__all__ = ["Demand", "Grant", "Shares", "Sharing"]

_BEAT = 1.0  # seconds
_SOON = 0.2  # while something is on its way from one to another


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Calls in flight: the limit as we know it, what we may have or still have, what we could use."""

    most: int
    held: int
    wanted: int


class Grant(Protocol):
    """``slots`` calls may be in flight; they are this ``share`` of what all have together."""

    @property
    def slots(self) -> int: ...

    @property
    def share(self) -> float: ...


class Shares(Protocol):
    """Divides limits among all who use them. One for each gateway; both methods block (a database)."""

    def beat(self, demands: Mapping[str, Demand]) -> Mapping[str, Grant]:
        """Sign of life and demands, by the limit's name; what may be used from now on. Never are more slots
        granted than there are: who is to have fewer keeps them on the books until it says that it holds fewer."""

    def leave(self) -> None:
        """Give everything back; what beats after that is told nothing."""


class Sharing:
    """Keeps the limiters of one gateway at what others leave them. For one event loop."""

    def __init__(self, shares: Shares, *, clock: Clock, note: Callable[[str], None]) -> None:
        self._shares, self._clock, self._note = shares, clock, note
        self._limiters: dict[str, Limiter] = {}
        self._strangers: set[str] = set()  # names that nothing was granted of yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._settled = True
        self._failed = False

    def add(self, limiters: Mapping[str, Limiter]) -> None:
        """Share ``limiters``: their calls wait until the first answer, some milliseconds. Adding twice is fine."""
        new = limiters.keys() - self._limiters.keys()
        if not new:
            return
        if not self._limiters:
            self._start(self._keep_beating())
        for name in new:
            self._limiters[name] = limiters[name]
            limiters[name].resize(0, 1.0)
        self._strangers |= new
        self._start(self._beat())

    async def leave(self) -> None:
        """Everything is free for others at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._limiters:
            with contextlib.suppress(
                Exception
            ):  # a ledger that cannot be written: they see us leave by our silence
                await asyncio.to_thread(self._shares.leave)

    async def _keep_beating(self) -> None:
        while True:
            await self._clock.sleep(_BEAT if self._settled else _SOON)
            await self._beat()

    async def _beat(self) -> None:
        async with self._turn:
            demands = {name: _demand(limiter) for name, limiter in self._limiters.items()}
            try:
                grants = await asyncio.to_thread(self._shares.beat, demands)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the run goes on with its last share
                self._alone(demands, error)
                return
            for name, grant in grants.items():
                self._limiters[name].resize(grant.slots, grant.share)
                self._strangers.discard(name)
            self._settled = all(g.slots == demands[name].held > 0 for name, g in grants.items())

    def _alone(self, demands: Mapping[str, Demand], error: Exception) -> None:
        for name in self._strangers & demands.keys():
            self._limiters[name].resize(demands[name].most, 1.0)
            self._strangers.discard(name)
        if not self._failed:
            self._failed = True
            self._note(f"limits are not shared with other runs as they should be: {error}")

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _demand(limiter: Limiter) -> Demand:
    return Demand(most=limiter.most, held=max(limiter.allowed, limiter.in_flight), wanted=limiter.wanted)
