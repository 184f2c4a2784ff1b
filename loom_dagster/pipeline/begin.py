"""Beginning a run whose last try may have died on another machine, or in another container.

Whoever starts it again at once, as Dagster's retries of crashed runs do, finds a lease whose owner cannot be looked up:
only its silence tells. So it is waited for until it either gives a sign of life or is silent for too long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from loom_dagster.ledger import RunHandle, Taken
from loom_dagster.pipeline.stop import Stop

__all__ = ["begin_when_free"]

_LOOK_AGAIN = 1.0  # seconds; the owner beats every ten


def begin_when_free(begin: Callable[[], RunHandle], stop: Stop, note: Callable[[str], None]) -> RunHandle:
    """What ``begin`` gives. Raises Taken when the other run is alive, or when this one is to stop."""
    stopped, seen = threading.Event(), None
    stop.when_requested(stopped.set)
    while True:
        try:
            return begin()
        except Taken as taken:
            if _lives(taken, seen) or stopped.is_set():
                raise
            if seen is None:
                note(f"{taken.what}: {taken.why}; waiting for a minute at most to see whether it is alive")
            seen = taken.beat_at
        stopped.wait(_LOOK_AGAIN)


def _lives(taken: Taken, seen: datetime | None) -> bool:
    return taken.beat_at is None or (seen is not None and taken.beat_at != seen)
