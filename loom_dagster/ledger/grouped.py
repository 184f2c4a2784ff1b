"""Things to do that arrive one by one and are done together: whatever waits while one group is worked on is the next.

A thread of its own works, so that the event loops of those who wait go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from loom_dagster.errors import Misconfigured

__all__ = ["Grouped"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class _Wait(NamedTuple, Generic[_In, _Out]):
    items: Sequence[_In]
    done: asyncio.Future[Sequence[_Out]]
    loop: asyncio.AbstractEventLoop


class Grouped(Generic[_In, _Out]):
    """``work`` is given at most ``most`` items and gives one result for each; what it raises, all of them are told.

    From any thread and any event loop. ``closed`` is what those are told who come too late.
    """

    def __init__(
        self,
        work: Callable[[list[_In]], Sequence[_Out]],
        *,
        name: str,
        most: int,
        closed: Callable[[], Misconfigured],
    ) -> None:
        self._work, self._name, self._most, self._late = work, name, most, closed
        self._waiting: queue.SimpleQueue[_Wait[_In, _Out] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def do(self, item: _In) -> _Out:
        """Return when it is done."""
        return (await self.do_all((item,)))[0]

    async def do_all(self, items: Sequence[_In]) -> Sequence[_Out]:
        """Return when all of them are done, together; none is not worth a call."""
        loop = asyncio.get_running_loop()
        wait: _Wait[_In, _Out] = _Wait(items, loop.create_future(), loop)
        with self._lock:
            if self._closed:
                raise self._late()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._waiting.put(wait)
        return await wait.done

    def close(self) -> None:
        """Do what waits, and end. Closing twice is fine."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            found = [self._waiting.get()]
            with contextlib.suppress(queue.Empty):
                while len(found) < self._most:
                    found.append(self._waiting.get_nowait())
            group = [wait for wait in found if wait is not None]
            if group:
                try:
                    _tell(group, self._work([item for wait in group for item in wait.items]))
                except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
                    _tell(group, error)
            if len(group) < len(found):
                return


def _tell(group: Sequence[_Wait[_In, _Out]], results: Sequence[_Out] | Exception) -> None:
    """Wake those who wait, with one call into each event loop (there is nearly always just one)."""
    told: list[tuple[_Wait[_In, _Out], Sequence[_Out] | Exception]] = []
    at = 0
    for wait in group:
        told.append((wait, results if isinstance(results, Exception) else results[at : at + len(wait.items)]))
        at += len(wait.items)
    for loop in {wait.loop for wait in group}:
        with contextlib.suppress(RuntimeError):  # the loop has been closed; nobody waits there any more
            loop.call_soon_threadsafe(_wake, [(wait.done, it) for wait, it in told if wait.loop is loop])


def _wake(told: Sequence[tuple[asyncio.Future[Sequence[_Out]], Sequence[_Out] | Exception]]) -> None:
    for done, result in told:
        if done.done():  # cancelled while it waited
            continue
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)
