"""What goes on beside each other in one run; the first error of any of it is the run's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from loom_dagster.cluster.hands import Gone

__all__ = ["Tasks", "until_given_up"]


class Tasks:
    """For one event loop. ``failed`` is called when ``error`` is set."""

    def __init__(self, failed: Callable[[], None]) -> None:
        self._failed, self._all = failed, set[asyncio.Task[Any]]()
        self.error: BaseException | None = None

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._all.add(task)
        task.add_done_callback(self._over)
        return task

    async def close(self) -> None:
        """Cancel what still goes on."""
        for task in tuple(self._all):
            task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._all.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.error = self.error or error
            self._failed()


async def until_given_up(losing: Coroutine[Any, Any, None], given_up: asyncio.Event) -> None:
    """A till that is away answers never, and then there is no more to be done than to wait for who watches it."""
    both = [asyncio.create_task(losing), asyncio.create_task(given_up.wait())]
    try:
        done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if both[0] not in done:
            return
        try:
            await both[0]
        except Gone:
            await given_up.wait()
    finally:
        for task in both:
            task.cancel()
