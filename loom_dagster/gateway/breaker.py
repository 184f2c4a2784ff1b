"""Tells an outage from records that fail, so that an outage never fills the quarantine.

Counted are calls that failed since the last success; one success starts the count anew. At 16 the
breaker opens: everybody waits, and one call at a time probes, after growing pauses. A probe that
gets through closes it. When none got through for ``patience`` seconds, all waiting and later calls
end as Outage. A burst of 429 is left to the limiter: those open it only after 10 s without a success.

A call whose tries are used up asks ``suspects_outage``: if other calls have succeeded since it
first failed, it is its own record that fails. If none has, the provider is probably down: the call
then waits at the breaker like the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from loom_dagster.clock import Clock
from loom_dagster.errors import Outage, Transient
from loom_dagster.gateway.failures import Throttled, Unreachable
from loom_dagster.gateway.retry import Effort

__all__ = ["Breaker"]

_OPENS_AT = 16  # calls that failed in a row
_ALONE = 4  # fewer calls than this that fail in a row may well be a few bad records at the end of a run
_BURST = 10.0  # seconds of nothing but 429 that are no outage yet
_LONGEST_PAUSE = 30.0


class Breaker:
    """One for each endpoint; for one event loop. ``patience`` in seconds."""

    def __init__(self, name: str, *, clock: Clock, patience: float, note: Callable[[str], None]) -> None:
        self._name, self._clock, self._patience, self._note = name, clock, patience, note
        self.successes = 0
        self._failing: set[Effort] = set()
        self._failing_since = 0.0
        self._last: Transient | None = None
        self._opened_at: float | None = None
        self._pause = 1.0
        self._probing = False
        self._outage = False
        self._changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self._opened_at is not None

    async def admit(self) -> bool:
        """Wait until a call may be made; whether it is a probe. Raises Outage."""
        while self._opened_at is not None:
            if self._outage:
                raise self._down()
            if self._probing:
                self._changed.clear()
                await self._changed.wait()
                continue
            self._probing = True
            try:
                left = self._opened_at + self._patience - self._clock.monotonic()
                await self._clock.sleep(max(0.0, min(self._pause, left)))
            except BaseException:
                self._end_probe()
                raise
            if self.is_open:
                return True
            self._end_probe()
        return False

    def succeeded(self, probe: bool = False) -> None:
        """The other side is alive: it answered, even if with a refusal."""
        self.successes += 1
        if self._failing:
            self._failing.clear()
        if self._opened_at is not None and not self._outage:
            self._opened_at = None
            self._note(f"{self._name} is back")
            self._changed.set()
        if probe:
            self._end_probe()

    def failed(self, effort: Effort, error: Transient, probe: bool = False) -> None:
        """A try of a call ended in vain."""
        self._last, now = error, self._clock.monotonic()
        if effort.successes_before is None:
            effort.successes_before = self.successes
        if effort.successes_before == self.successes:
            if not self._failing:
                self._failing_since = now
            self._failing.add(effort)
        if self._opened_at is None:
            burst = isinstance(error, Throttled) and now - self._failing_since < _BURST
            if len(self._failing) >= _OPENS_AT and not burst:
                self.trip()
        elif now - self._opened_at >= self._patience:
            self._outage = True
            self._changed.set()
        if probe:
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            self._end_probe()

    def abandoned(self, probe: bool) -> None:
        """A call was cancelled: nothing is known."""
        if probe:
            self._end_probe()

    def suspects_outage(self, effort: Effort, error: Transient) -> bool:
        """Whether a call that used up its tries did so because the provider is down."""
        if effort.successes_before != self.successes:
            return False
        never = self.successes == 0
        return never or isinstance(error, Unreachable) or len(self._failing) >= _ALONE

    def trip(self) -> None:
        """Open, unless it is open."""
        if self._opened_at is None:
            self._opened_at, self._pause = self._clock.monotonic(), 1.0
            self._note(
                f"{self._name} does not answer ({self._last}); waiting for it, up to {self._patience:.0f} s"
            )

    def _end_probe(self) -> None:
        self._probing = False
        self._changed.set()

    def _down(self) -> Outage:
        return Outage(
            f"{self._name} has been down for {self._patience:.0f} s",
            why=self._last.what if self._last is not None else None,
            fix="nothing is lost: run again when it is back",
        )
