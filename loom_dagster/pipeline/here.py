"""Records are settled in this process: the engine of a run that names no other."""

from __future__ import annotations

from loom_dagster.pipeline.plan import Work
from loom_dagster.pipeline.stream import Streamed, stream

__all__ = ["settle_here"]


async def settle_here(work: Work) -> Streamed:
    """One gateway, one route, one stream of all records."""
    plan, tally = work.plan, work.tally
    async with plan.gateway(tally.listen, work.note, work.spend) as gateway:
        return await stream(
            plan.batches(),
            plan.route(gateway, work.handle),
            work.writer,
            tally,
            work.stop,
            pace=plan.pace,
            on_tick=work.tick,
            clock=work.clock,
        )
