"""Keeping a run's lease while its records are on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from loom_dagster.clock import Clock
from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Ledger, RunHandle, SpendLog
from loom_dagster.pipeline.stop import Stop

__all__ = ["keep_lease"]

_EVERY = 10.0  # seconds; the ledger's lease lasts for six of them


async def keep_lease(
    ledger: Ledger, handle: RunHandle, spend: SpendLog, stop: Stop, note: Callable[[str], None], clock: Clock
) -> None:
    """Beat until cancelled, in a thread: a ledger that is away must not keep answers waiting.

    A beat that fails is tried again. A lease that is lost stops the run: another one has begun, and every
    further call would be paid for by both.
    """

    def beat() -> None:
        ledger.heartbeat(handle)
        spend.flush()

    while True:
        await clock.sleep(_EVERY)
        try:
            await asyncio.to_thread(beat)
        except Misconfigured as error:
            note(error.sentence())
            if error.kind == "lease":
                stop.request()
                return
