"""Ctrl-C and SIGTERM: the first lets what is in flight finish, the second ends at once.

The work runs in a thread; the main thread does nothing but wait, so that a signal is always heard.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Generic, TypeVar

from loom_dagster.cli.exits import Abandoned
from loom_dagster.pipeline.stop import Stop

__all__ = ["interruptible"]

T = TypeVar("T")

_LOOK_EVERY = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Work(threading.Thread, Generic[T]):
    """A function in a daemon thread: abandoned work must not keep the process."""

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__(name="loom-run", daemon=True)
        self._function = function
        self.done = threading.Event()
        self.result: T | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self.error = error
        finally:
            self.done.set()


def interruptible(work: Callable[[], T], stop: Stop, say: Callable[[str], None]) -> T:
    """What ``work`` returns or raises. Call it from the main thread.

    Raises Abandoned on the second signal; ``work`` is then still going on.
    """
    heard: list[int] = []

    def hear(number: int, _frame: FrameType | None) -> None:
        heard.append(number)

    before = {number: signal.signal(number, hear) for number in _SIGNALS}
    thread = _Work(work)
    try:
        thread.start()
        while not thread.done.wait(_LOOK_EVERY):
            if heard and not stop.requested:
                stop.request()
                say("Finishing what is in flight; press again to stop at once.")
            if len(heard) > 1:
                raise Abandoned
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if thread.error is not None:
        raise thread.error
    return thread.result  # type: ignore[return-value]  # set whenever there is no error
