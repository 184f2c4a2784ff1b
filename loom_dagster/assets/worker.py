"""A run in a thread of its own, while the main thread stays free to hear an interrupt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING

from loom_dagster.events import Event, Listener, Note

if TYPE_CHECKING:
    from loom_dagster.pipeline import Outcome, Stop

__all__ = ["run_in_thread"]

_DRAINING = "interrupted: finishing and keeping what is in flight"


def run_in_thread(work: Callable[[Listener, Stop], Outcome], listen: Listener) -> Outcome:
    """``work`` in another thread; its events reach ``listen`` in this one.

    Whatever interrupts the waiting (Dagster's terminate, Ctrl-C, an error of ``listen``) stops the
    intake, waits until what is in flight is stored, and is raised again. Interrupted once more, it
    does not wait. An error of ``work`` is raised as it is.
    """
    from loom_dagster.pipeline import Stop  # with it come pyarrow and SQLAlchemy: not for a code location

    job = _Job(work, Stop())
    # a daemon: a second interrupt must be able to end the process
    thread = threading.Thread(target=job.run, name="loom-run", daemon=True)
    try:
        thread.start()  # within: an interrupt may well come while the thread is starting
        while (event := job.events.get()) is not None:
            listen(event)
    except BaseException:
        job.stop.request()
        if thread.ident is not None:  # else it finds the request before it begins
            try:
                listen(Note(pipeline="loom", text=_DRAINING))
            finally:  # the listener may be what failed
                job.ended.wait()
        raise
    return job.future.result()


@dataclass
class _Job:
    work: Callable[[Listener, Stop], Outcome]
    stop: Stop
    events: SimpleQueue[Event | None] = field(default_factory=SimpleQueue)
    future: Future[Outcome] = field(default_factory=Future)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            if not self.stop.requested:
                self.future.set_result(self.work(self.events.put, self.stop))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self.future.set_exception(error)
        finally:
            self.events.put(None)
            self.ended.set()
