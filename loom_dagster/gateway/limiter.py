"""How fast one model (or all of a provider's) may be asked: calls in flight, requests and tokens a minute.

What is configured holds always. Below it the calls in flight follow what the provider takes
(level.py), and what it says of its own limits is minded (pace.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

from loom_dagster.clock import Clock
from loom_dagster.gateway.level import Level
from loom_dagster.gateway.pace import Pace, Wall

__all__ = ["Limiter"]

_REST = 1.0  # seconds, when even a single call at a time is too much and nobody says for how long


class Limiter:
    """Slots for calls in flight, and the pace of requests and tokens. For one event loop.

    A call of a limiter ``within`` another one passes both.
    """

    def __init__(
        self,
        *,
        in_flight: int,
        clock: Clock,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        within: Limiter | None = None,
    ) -> None:
        self._clock = clock
        self.most = in_flight
        self.within = within
        self._level, self._wall = Level(in_flight), Wall(clock)
        self._share = 1.0
        self._used = self._unsaved = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._requests = Pace(requests_per_minute, clock) if requests_per_minute else None
        self._tokens = Pace(tokens_per_minute, clock) if tokens_per_minute else None
        self._held_until = float("-inf")

    @property
    def in_flight(self) -> int:
        """Calls that hold a slot."""
        return self._used

    @property
    def wanted(self) -> int:
        """Calls that hold a slot or wait for one."""
        return self._used + len(self._waiting)

    @property
    def limit(self) -> int:
        """Calls that may hold a slot now."""
        return self._level.now

    @property
    def allowed(self) -> int:
        """Calls that may hold a slot when the provider takes them all."""
        return self._level.most

    @property
    def counts_tokens(self) -> bool:
        return self._tokens is not None or (self.within is not None and self.within.counts_tokens)

    def resize(self, slots: int, share: float) -> None:
        """Others use the same limit: ``slots`` of it, and this ``share`` of the rates, are ours."""
        self._share = share
        self._level.resize(slots)
        for pace in (self._requests, self._tokens):
            if pace is not None:
                pace.resize(share)
        self._wake()

    async def acquire(self, tokens: int) -> int:
        """Wait for a slot and for the pace; gives the ticket that the call's end is told with."""
        if self._has_room() and not self._waiting:
            self._used += 1
        else:
            await self._queue()
        try:
            if self._requests is not None:
                await self._requests.take()
            if self._tokens is not None:
                await self._tokens.take(tokens)
            while (wait := self._held_until - self._clock.monotonic()) > 0:
                await self._clock.sleep(wait)
            await self._wall.passed()
            if self.within is not None:
                await self.within.acquire(tokens)
        except BaseException:
            self._free()
            raise
        return self._level.ticket()

    def answered(self) -> None:
        """Give the slot back: the provider has done its part. The answer, until it is ``saved``, counts towards our part
        of what is configured all the same, so that no kill can cost more answers than that."""
        self._unsaved += 1
        self.release()

    def saved(self) -> None:
        """The answer is on disk."""
        self._unsaved -= 1
        self._wake()

    def release(self) -> None:
        """Give the slot back."""
        self._free()
        if self.within is not None:
            self.within.release()

    def succeeded(self, ticket: int, *, tokens: int, beyond: int) -> None:
        """An answer came that used ``tokens``, ``beyond`` of them more than was asked for."""
        self._wall.used(tokens)
        self.charge(beyond)
        self._level.succeeded(ticket, full=self.wanted >= self._level.now)
        self._wake()

    def throttled(self, ticket: int, retry_after: float | None) -> None:
        """A 429 came. When it is one of many, nobody is sent until it is over."""
        if self._level.refused(ticket):
            rest = _REST if self._level.now == 1 else 0.0
            self._held_until = self._clock.monotonic() + (rest if retry_after is None else retry_after)

    def told(self, ticket: int, headers: Mapping[str, str] | None) -> None:
        """The headers that a call ended with."""
        if headers is not None:
            self._wall.told(ticket, headers, slots=self._level.now, share=self._share)

    def charge(self, tokens: int) -> None:
        """``tokens`` were used beyond what was asked for."""
        if self._tokens is not None:
            self._tokens.charge(tokens)
        if self.within is not None:
            self.within.charge(tokens)

    def _free(self) -> None:
        self._used -= 1
        self._wake()

    async def _queue(self) -> None:
        slot = asyncio.get_running_loop().create_future()
        self._waiting.append(slot)
        try:
            await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled():
                self._free()  # it was given to us just before we were cancelled
            raise

    def _has_room(self) -> bool:
        return self._used < self._level.now and self._used + self._unsaved < self._level.most

    def _wake(self) -> None:
        while self._waiting and self._has_room():
            slot = self._waiting.popleft()
            if not slot.done():
                self._used += 1
                slot.set_result(None)
