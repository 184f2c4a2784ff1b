"""So many a minute: as configured, and as a provider says it has left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from loom_dagster.clock import Clock
from loom_dagster.gateway.quota import quotas

__all__ = ["Pace", "Wall"]

_BURST = 1.0  # seconds of unused rate that may be caught up
_ROUNDS = 4  # with less left than these rounds of calls, they are spread over the time to the reset
_LOOK = 1.0  # seconds; a provider may say something better while others wait


class Pace:
    """So many a minute, evenly: first come, first served, without a burst of a whole minute."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._per_minute = per_minute
        self._gap = 60.0 / per_minute
        self._clock = clock
        self._free_at = float("-inf")

    def resize(self, share: float) -> None:
        """Only this share of the rate is ours."""
        if share > 0:
            self._gap = 60.0 / (self._per_minute * share)

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


class Wall:
    """What a provider says is left of its own limits: nothing left, and nobody is sent before the reset;
    little left, and it is spread over the time to the reset."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = self._next = float("-inf")
        self._gap = 0.0
        self._tokens = 1.0  # of a call, about
        self._heard = 0
        self._turn = asyncio.Lock()

    def used(self, tokens: int) -> None:
        """A call took ``tokens``."""
        self._tokens += (max(1, tokens) - self._tokens) / (8 if self._tokens > 1 else 1)

    def told(self, ticket: int, headers: Mapping[str, str], *, slots: int, share: float) -> None:
        """What came with the end of a call. ``slots`` calls may be in flight; ``share``: how much of what
        is left is ours. What is older than what was heard before does not count."""
        left = quotas(headers, self._clock.now)
        if not left or ticket < self._heard:
            return
        self._heard, now = ticket, self._clock.monotonic()
        self._until, self._gap = float("-inf"), 0.0
        for quota in left:
            calls = share * quota.remaining / (self._tokens if quota.tokens else 1.0)
            if calls < 1:
                self._until = self._next = max(self._until, now + quota.reset)
            elif calls < _ROUNDS * slots:
                self._until = max(self._until, now + quota.reset)
                self._gap = max(self._gap, quota.reset / calls)

    async def passed(self) -> None:
        """Wait until a call may be sent."""
        if self._clock.monotonic() >= self._until:
            return
        async with self._turn:
            while (wait := min(self._next, self._until) - self._clock.monotonic()) > 0:
                await self._clock.sleep(min(wait, _LOOK))
            self._next = self._clock.monotonic() + self._gap
