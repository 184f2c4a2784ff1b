"""Identical questions on their way are asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from loom_dagster.records import Answer

__all__ = ["Once"]


class Once:
    """The questions on their way, by the key of their answer. For one event loop."""

    def __init__(self) -> None:
        self._asking: dict[bytes, asyncio.Future[tuple[Answer, float | None]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def asking(self, key: bytes) -> asyncio.Future[tuple[Answer, float | None]] | None:
        """Somebody else's, which ends as theirs does: with the answer and since when it may have been stored, with the
        error, or cancelled; then one of those who wait asks."""
        return self._asking.get(key)

    async def ask(self, key: bytes, ask: Callable[[], Awaitable[Answer]], not_before: float | None) -> Answer:
        """What ``ask`` gives; nobody is asking for ``key``."""
        asking = self._asking[key] = asyncio.get_running_loop().create_future()
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            answer = await ask()
        except Exception as error:
            asking.set_exception(error)
            asking.exception()  # seen, also when nobody waits
            raise
        except BaseException:
            asking.cancel()
            raise
        else:
            asking.set_result((answer, not_before))
            return answer
        finally:
            del self._asking[key]
            if task is not None:
                self._tasks.discard(task)

    async def cancel(self) -> None:
        """All of them."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
