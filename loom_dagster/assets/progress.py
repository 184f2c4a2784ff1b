"""What a run tells while it goes on, in Dagster's words: log lines and, now and then, an observation."""

from __future__ import annotations

import dagster as dg

from loom_dagster.clock import Clock, SystemClock
from loom_dagster.events import Event, Listener, Note, Progress, RunStarted, StageDone

__all__ = ["Teller"]

_EVERY = 15.0


class Teller:
    """A listener: logs to ``context``, observes ``key`` every 15 seconds, and hands on to ``listen``."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        key: dg.AssetKey,
        listen: Listener,
        clock: Clock | None = None,
    ) -> None:
        self._context, self._key, self._listen = context, key, listen
        self._clock = clock or SystemClock()
        self._observed = self._clock.monotonic()

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
                self._observe(event)
        self._listen(event)

    def _observe(self, progress: Progress) -> None:
        now = self._clock.monotonic()
        if now - self._observed < _EVERY:
            return
        self._observed = now
        metadata = {
            "extracted": progress.extracted,
            "transformed": progress.transformed,
            "passed": progress.passed,
            "quarantined": progress.quarantined,
            "deferred": progress.deferred,
            "cost_usd": float(progress.cost),
        }
        self._context.log_event(dg.AssetObservation(self._key, description="in progress", metadata=metadata))
