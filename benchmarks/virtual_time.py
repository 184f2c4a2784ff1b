"""An event loop whose time jumps to the next thing that happens: hours of a cluster pass in seconds, always the same way.

Code that runs in it is real: tasks, locks and sleeps are asyncio's. Nothing in it may wait for a real socket;
what it gives to threads is done at once, and takes as long as was said. Tasks belong to a process, as do those that
they start, and end with it.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import selectors
import weakref
from collections import defaultdict
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

__all__ = ["VirtualClock", "inside", "kill", "run"]

T = TypeVar("T")

_PROCESS = contextvars.ContextVar("process", default="")
_START = datetime(2026, 1, 1, tzinfo=UTC)


class _Jump(selectors.SelectSelector):
    """Instead of waiting for a socket, time goes on."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits for something that will never happen")
        self.passed += max(timeout, 0.0)
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, threads: float) -> None:
        self._jump, self._threads = _Jump(), threads
        self.processes: defaultdict[str, weakref.WeakSet[asyncio.Task[Any]]] = defaultdict(weakref.WeakSet)
        super().__init__(self._jump)
        self.set_task_factory(self._task)

    def time(self) -> float:
        return self._jump.passed

    def _task(self, loop: Any, work: Any, context: contextvars.Context | None = None) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, context=context)
        self.processes[(context or contextvars.copy_context()).get(_PROCESS, "")].add(task)
        return task

    def run_in_executor(  # type: ignore[override] # what a thread would do is done here
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told
            failed: asyncio.Future[T] = self.create_future()
            failed.set_exception(error)
            return failed
        if asyncio.isfuture(result):  # it stands for what a thread would wait for
            return result
        return self.create_task(asyncio.sleep(self._threads, result))


def inside(process: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task of ``process``."""
    context = contextvars.copy_context()
    context.run(_PROCESS.set, process)
    return asyncio.create_task(work, context=context)


def kill(process: str) -> None:
    """All its tasks, wherever they are."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _Loop)  # noqa: S101 - what run() made
    for task in tuple(loop.processes.pop(process, ())):
        task.cancel()


class VirtualClock:
    """A Clock by the loop's time; ``seed`` makes its random numbers."""

    def __init__(self, seed: int = 0) -> None:
        self._draw = random.Random(seed)  # noqa: S311 - no secret
        self._loop = asyncio.get_running_loop()

    def now(self) -> datetime:
        return _START + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def random(self) -> float:
        return self._draw.random()


def run(work: Coroutine[Any, Any, T], *, threads: float = 0.0) -> T:
    """What ``work`` gives; what it gives to threads takes ``threads`` seconds. Raises RuntimeError when it can never end."""
    loop = _Loop(threads)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(_end(asyncio.all_tasks(loop)))
        loop.close()


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
