"""Time, sleep and randomness in one place, so that tests can bring their own."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What the rest of the code knows of time."""

    def now(self) -> datetime:
        """The wall clock, UTC-aware. For records of when; never for measuring how long."""

    def monotonic(self) -> float:
        """Seconds since some point; never goes backwards."""

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""

    def random(self) -> float:
        """A number in [0, 1), for jitter."""


class SystemClock:
    """The real clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def random(self) -> float:
        return random.random()  # noqa: S311 - jitter, not security
