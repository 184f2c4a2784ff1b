"""What runs on the cluster: actors are made of these classes, which only speak to each other through Ray's handles."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol

from loom_dagster.cluster.worker import Kits, Worker
from loom_dagster.errors import LoomError

__all__ = ["TillActor", "Tills", "WorkerActor"]

_COLLECT_EVERY = 50_000  # objects, as the command `loom` has it: more often is a fifth of what a record costs


class Tills(Protocol):
    """Opens the run's till; plain values only. May hold secrets: it is handed over by a call, never by a constructor."""

    def open(self) -> AbstractAsyncContextManager[Any]:
        """A ``ledger.till.Till``."""


class TillActor:
    """The run's money, limits and answers, for all its workers. Started anew by Ray when it dies; what it knows is on
    disk, and the driver opens it again."""

    def __init__(self) -> None:
        self._till: Any = None
        self._opened, self._opening = asyncio.Event(), asyncio.Lock()
        self._stack = AsyncExitStack()

    async def open(self, tills: Tills) -> int:
        """Open it unless it is; gives the process' id."""
        async with self._opening:
            if self._till is None:
                self._till = await self._stack.enter_async_context(tills.open())
                self._opened.set()
                _collect_rarely()
        return os.getpid()

    async def exchange(self, worker: str, message: tuple[Any, ...]) -> tuple[Any, ...]:
        """See ``Till.exchange``. Waits until the till is open."""
        await self._opened.wait()
        answer: tuple[Any, ...] = await self._till.exchange(worker, message)
        return answer

    async def lost(self, worker: str) -> None:
        await self._opened.wait()
        await self._till.lost(worker)

    async def leave(self, worker: str) -> None:
        await self._opened.wait()
        await self._till.leave(worker)

    async def books(self) -> Any:
        await self._opened.wait()
        return await self._till.books()

    async def close(self) -> None:
        """Write everything and let go of it."""
        await self._stack.aclose()


class WorkerActor(Worker):
    """A worker whose exchanges go to the till's actor."""

    async def here(self) -> None:
        """It has a place, and its process has begun."""

    async def begin(self, kits: Kits, bundle: bytes, environ: Mapping[str, str], till: Any) -> None:
        async def exchange(message: tuple[Any, ...]) -> tuple[Any, ...]:
            try:
                answer: tuple[Any, ...] = await till.exchange.remote(self._name, message)
            except Exception as error:  # noqa: BLE001 - Ray wraps what the till raised
                cause = getattr(error, "cause", None)
                raise (cause if isinstance(cause, LoomError) else error) from None
            return answer

        await self.prepare(kits, bundle, environ, exchange)
        _collect_rarely()


def _collect_rarely() -> None:
    """What is there now stays as long as the process: nobody need look for circles in it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY)
