"""How a run is asked to end early: by Ctrl-C, SIGTERM, or Dagster's terminate button."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Stop"]


class Stop:
    """A request, made from any thread, that a run stop taking in records and drain.

    What is in flight is finished and stored; the run ends ``interrupted`` and stays resumable.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        return self._requested

    def request(self) -> None:
        """Ask. Asking twice is asking once."""
        with self._lock:
            if self._requested:
                return
            self._requested = True
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def when_requested(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on request, at once if that has happened. It must be thread-safe."""
        with self._lock:
            if not self._requested:
                self._callbacks.append(callback)
                return
        callback()
