"""When to try again, and after how long. By the error's class alone."""

from __future__ import annotations

from dataclasses import dataclass

from loom_dagster.clock import Clock
from loom_dagster.errors import Transient
from loom_dagster.gateway.failures import Throttled

__all__ = ["Effort", "pause"]

_BASE = 0.5
_CAP = 30.0
_LONGEST_NAMED = 120.0
_THROTTLED_FACTOR = 4  # a 429 is not the record's fault, so it may come more often, but not for ever


@dataclass(slots=True, eq=False)
class Effort:
    """The tries of one call. ``successes_before`` is how many calls of its endpoint had succeeded when it
    first failed; None as long as it has not."""

    max_attempts: int
    failures: int = 0
    throttled: int = 0
    successes_before: int | None = None

    def count(self, error: Transient) -> None:
        """One more try was in vain."""
        if isinstance(error, Throttled):
            self.throttled += 1
        else:
            self.failures += 1

    @property
    def used_up(self) -> bool:
        return (
            self.failures >= self.max_attempts
            or self.throttled + self.failures >= self.max_attempts * _THROTTLED_FACTOR
        )


def pause(effort: Effort, error: Transient, clock: Clock) -> float:
    """Seconds to the next try: full jitter below 0.5 s, 1 s, 2 s, ... 30 s; a time that the other side
    named (up to 120 s) is waited out, and then a little, so that not everybody comes at once."""
    step = max(0, effort.failures + effort.throttled - 1)
    jitter = clock.random() * min(_CAP, _BASE * 2.0 ** min(step, 10))
    if error.retry_after is None:
        return jitter
    return min(error.retry_after, _LONGEST_NAMED) + min(jitter, 1.0)
