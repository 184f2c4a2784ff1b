"""How fast one model may be asked: calls in flight, requests and tokens a minute.

The limit on calls in flight adapts: it is halved when a noticeable share of the answers is 429 and
grows again with every success. A single 429 here and there changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque

from loom_dagster.clock import Clock

__all__ = ["Limiter", "Pace"]

_NOTICEABLE = 0.15  # share of 429 among the last answers that means: too fast
_MEMORY = 64  # about how many answers "the last" are
_BURST = 1.0  # seconds of unused rate that may be caught up


class Pace:
    """So many a minute, evenly: first come, first served, without a burst of a whole minute."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._gap = 60.0 / per_minute
        self._clock = clock
        self._free_at = float("-inf")

    async def take(self, amount: float = 1.0) -> None:
        """Wait until ``amount`` may be used."""
        now = self._clock.monotonic()
        start = max(self._free_at, now - _BURST)
        self._free_at = start + amount * self._gap
        if start > now:
            await self._clock.sleep(start - now)

    def charge(self, amount: float) -> None:
        """``amount`` was used beyond what was taken; those who come later wait for it."""
        self._free_at += amount * self._gap


class Limiter:
    """Slots for calls in flight, and the pace of requests and tokens. For one event loop."""

    def __init__(
        self,
        *,
        in_flight: int,
        clock: Clock,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> None:
        self._clock = clock
        self._most = self._limit = float(in_flight)
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._requests = Pace(requests_per_minute, clock) if requests_per_minute else None
        self._tokens = Pace(tokens_per_minute, clock) if tokens_per_minute else None
        self._throttled_share = 0.0
        self._cuts = 0
        self._held_until = float("-inf")

    @property
    def in_flight(self) -> int:
        """Calls that hold a slot."""
        return self._used

    @property
    def limit(self) -> int:
        """Calls that may hold a slot now."""
        return int(self._limit)

    async def acquire(self, tokens: int) -> int:
        """Wait for a slot and for the pace; gives the ticket that ``throttled`` wants."""
        if self._used < int(self._limit) and not self._waiting:
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
        except BaseException:
            self.release()
            raise
        return self._cuts

    def release(self) -> None:
        """Give the slot back."""
        self._used -= 1
        self._wake()

    def succeeded(self, tokens_beyond: int) -> None:
        """An answer came; ``tokens_beyond`` is what it used beyond what was asked for."""
        self._throttled_share -= self._throttled_share / _MEMORY
        if self._tokens is not None:
            self._tokens.charge(tokens_beyond)
        if self._limit < self._most:
            self._limit = min(self._most, self._limit + max(1.0, self._limit / 10) / self._limit)
            self._wake()

    def throttled(self, ticket: int, retry_after: float | None) -> None:
        """A 429 came. Calls that were sent before the last cut do not cut again."""
        self._throttled_share += (1.0 - self._throttled_share) / _MEMORY
        if ticket == self._cuts and self._throttled_share > _NOTICEABLE:
            self._cuts += 1
            self._limit = max(1.0, self._limit / 2)
            self._held_until = self._clock.monotonic() + (retry_after or 0.0)

    async def _queue(self) -> None:
        slot = asyncio.get_running_loop().create_future()
        self._waiting.append(slot)
        try:
            await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled():
                self.release()  # it was given to us just before we were cancelled
            raise

    def _wake(self) -> None:
        while self._waiting and self._used < int(self._limit):
            slot = self._waiting.popleft()
            if not slot.done():
                self._used += 1
                slot.set_result(None)
