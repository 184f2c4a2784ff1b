"""A worker's line to the till: everything that its gateway wants to know or to say of answers, money and limits.

One exchange at a time; what gathers meanwhile goes with the next. An exchange that fails is sent again, with the same
number, so that the till applies it once whatever became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from loom_dagster.clock import Clock
from loom_dagster.cluster.answers import Answers
from loom_dagster.cluster.limits import Limits
from loom_dagster.cluster.money import Money
from loom_dagster.errors import LoomError, Misconfigured
from loom_dagster.ledger.exchange import Message, Reply, raised

__all__ = ["Line"]

_LOOK_AGAIN, _LONGEST = 0.02, 1.0  # seconds between two questions after what did not come
_AGAIN, _LONGEST_AGAIN = 0.05, 0.25  # seconds between two tries of one exchange


class Line:
    """For one event loop, made in it; ``close`` it at the end. ``store``, ``spend`` and ``shares`` are what a Gateway
    takes. ``limited``: whether there is a budget to keep. ``patience`` in seconds: how long a till that cannot be reached
    is waited for. After that everybody who waits is told so, by Misconfigured (kind ``ledger``), and nothing is asked
    any more."""

    def __init__(
        self,
        worker: str,
        exchange: Callable[[tuple[Any, ...]], Awaitable[tuple[Any, ...]]],
        *,
        limited: bool,
        clock: Clock,
        patience: float = 120.0,
    ) -> None:
        self._worker, self._exchange, self._clock, self._patience = worker, exchange, clock, patience
        self._loop = asyncio.get_running_loop()
        self._work, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self.store = Answers(self._wake)
        self.spend = Money(self._wake, clock, limited=limited)
        self.shares = Limits(self._wake, self._loop)
        self._parts = (self.store, self.spend, self.shares)
        self._number, self._till = 0, ""
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Say what is left to be said. Closing twice is fine."""
        if self._task is not None and not self._task.done():
            idle = asyncio.create_task(self._idle.wait())
            await asyncio.wait([idle, self._task], return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._fail(Misconfigured("the line to the till is closed"))

    def _wake(self) -> None:
        self._work.set()
        self._idle.clear()
        if self._task is None:
            self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        look_again = _LOOK_AGAIN
        try:
            while True:
                await self._work_comes(look_again)
                began = self._loop.time()
                reply = await self._said(self._gathered())
                told = [part.hear(reply) for part in self._parts]
                look_again = _LOOK_AGAIN if any(told) else min(2 * look_again, _LONGEST)
                if reply.till != self._till:
                    self._till = reply.till
                    if self._number > 1:
                        for part in self._parts:
                            part.repeat()
                if not self._work.is_set():
                    self._idle.set()
                await asyncio.sleep(max(0.0, began + reply.pause - self._loop.time()))
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody waits for ever
            broken = Misconfigured("the line to the till broke", why=f"{type(error).__name__}: {error}")
            self._fail(error if isinstance(error, LoomError) else broken)

    async def _work_comes(self, look_again: float) -> None:
        """Something to say, or time to ask after what did not come."""
        alarm = None
        if any(part.waits for part in self._parts):
            alarm = self._loop.call_later(look_again, self._work.set)
        try:
            await self._work.wait()
        finally:
            if alarm is not None:
                alarm.cancel()
        self._work.clear()

    def _gathered(self) -> Message:
        self._number += 1
        fields: dict[str, Any] = {}
        for part in self._parts:
            fields |= part.gather()
        return Message(self._number, self._till, **fields)

    async def _said(self, message: Message) -> Reply:
        """The reply to ``message``. Raises Misconfigured when there is none for too long, or none will be."""
        began, pause = self._loop.time(), _AGAIN
        while True:
            try:
                reply = Reply(*await self._exchange(tuple(message)))
            except Misconfigured:
                raise
            except Exception as error:
                if self._loop.time() - began + pause > self._patience:
                    raise Misconfigured(
                        "the till of the run cannot be reached",
                        where=f"worker {self._worker}",
                        why=f"{type(error).__name__}: {error}",
                        fix="see why its process or its node died; nothing that was answered is lost",
                        kind="ledger",
                    ) from error
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_AGAIN)
                continue
            if reply.gone is not None:
                raise raised(reply.gone)
            return reply

    def _fail(self, error: LoomError) -> None:
        for part in self._parts:
            part.fail(error)
        self._idle.set()
