"""What a run tells while it goes on, in Dagster's words: lines of its log.

How far it has come is no observation of the asset: its numbers would stand among those of whole runs, and Dagster's
plots of them would fall to nothing in between.
"""

from __future__ import annotations

import dagster as dg

from loom_dagster.clock import Clock, SystemClock
from loom_dagster.events import Event, Listener, Note, Progress, RunStarted, StageDone

__all__ = ["Teller"]

_EVERY = 15.0


class Teller:
    """A listener: logs to ``context``, how far ``key`` has come every 15 seconds, and hands on to ``listen``."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        key: dg.AssetKey,
        listen: Listener,
        clock: Clock | None = None,
    ) -> None:
        self._context, self._key, self._listen = context, key, listen
        self._clock = clock or SystemClock()
        self._said = self._clock.monotonic()

    def __call__(self, event: Event) -> None:
        log = self._context.log
        match event:
            case RunStarted():
                verb = "continues" if event.resumed else "begins"
                how = " (simulated)" if event.simulated else ""
                log.info(f"{event.pipeline}: run {event.run_id} {verb} with {event.model}{how}")
            case StageDone():
                log.info(
                    f"{event.pipeline}: {event.stage} done, {event.records} records, {event.seconds:.1f} s"
                )
            case Note():
                (log.warning if event.level == "warning" else log.info)(f"{event.pipeline}: {event.text}")
            case Progress():
                self._how_far(event)
        self._listen(event)

    def _how_far(self, progress: Progress) -> None:
        now = self._clock.monotonic()
        if now - self._said < _EVERY:
            return
        self._said = now
        self._context.log.info(
            f"{self._key.to_user_string()}: {progress.extracted:,} extracted, {progress.transformed:,} transformed,"
            f" {progress.passed:,} passed, {progress.quarantined:,} quarantined, {progress.deferred:,} deferred,"
            f" ${progress.cost:.4f} so far"
        )
