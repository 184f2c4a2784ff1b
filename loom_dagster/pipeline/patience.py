"""Waiting for a server that is away: told once, longer each time, and never longer than one is asked to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from loom_dagster.clock import Clock
from loom_dagster.errors import Transient
from loom_dagster.pipeline.stop import Stop

__all__ = ["Patience", "Stopped"]

_LONGEST = 60.0  # seconds between two tries
T = TypeVar("T")


class Stopped(Exception):
    """Asked to stop while waiting for what is away."""


class Patience:
    """Tries until it can be done, or until ``stop``."""

    def __init__(self, stop: Stop, note: Callable[[str], None], clock: Clock) -> None:
        self._note, self._clock = note, clock
        self._asked = threading.Event()
        self._told: set[str] = set()
        stop.when_requested(self._asked.set)

    def until_done(self, ask: Callable[[], T], *, after: Callable[[], None] = lambda: None) -> T:
        """What ``ask`` gives, however long the other side is away; ``after`` each time it was. Raises Stopped."""
        for delay in self.delays():
            try:
                found = ask()
            except Transient as error:
                why = f": {error.why}" if error.why else ""
                self.tell(f"{error.what}{why}; it is tried again until it can")
                after()
            else:
                self.back()
                return found
            if self.wait(delay):
                break
        raise Stopped

    def wait(self, seconds: float) -> bool:
        """Whether it is time to stop."""
        return self._asked.wait(seconds)

    def delays(self) -> Iterator[float]:
        delay = 0.2
        while True:
            yield delay * (0.5 + self._clock.random())
            delay = min(delay * 2, _LONGEST)

    def tell(self, text: str) -> None:
        """Once, until it is over."""
        if text not in self._told:
            self._told.add(text)
            self._note(text)

    def back(self) -> None:
        if self._told:
            self._told.clear()
            self._note("it goes on")
