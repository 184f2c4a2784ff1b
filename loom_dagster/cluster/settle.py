"""The engine: the records of a run are settled by workers on a Ray cluster, everything else stays where it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loom_dagster.cluster.actors import Tills
from loom_dagster.cluster.connect import connected
from loom_dagster.cluster.crew import RayCrew
from loom_dagster.cluster.drive import Drive
from loom_dagster.cluster.worker import Kits
from loom_dagster.execution import Execution
from loom_dagster.ledger import RunHandle
from loom_dagster.pipeline import Streamed, Work
from loom_dagster.release.rows import Rows

__all__ = ["OnRay"]


@dataclass(frozen=True, kw_only=True)
class OnRay:
    """An engine. ``kits`` and ``tills`` are what workers and till are made of, for one run; ``bundle`` the project's
    files; ``environ`` what nodes may lack; ``pinned``: the till has to be where this process is. ``paid`` sums the
    books of a run, as ``Tally.pay`` takes them."""

    execution: Execution
    kits: Callable[[RunHandle], Kits]
    tills: Callable[[RunHandle], Tills]
    bundle: Callable[[], bytes]
    environ: Mapping[str, str]
    pinned: bool

    async def __call__(self, work: Work) -> Streamed:
        """Raises Misconfigured when there is no such cluster, or it cannot be worked with."""
        _plan, books = work.plan, work.ledger.books
        bundle = await asyncio.to_thread(self.bundle)
        before = await asyncio.to_thread(books.of_run, work.handle)
        async with contextlib.AsyncExitStack() as stack:
            ray = await asyncio.to_thread(stack.enter_context, connected(self.execution.address))
            crew = RayCrew(
                ray,
                run_id=work.handle.run_id,
                wanted=self.execution.workers,
                address=self.execution.address,
                kits=self.kits(work.handle),
                tills=self.tills(work.handle),
                bundle=bundle,
                environ=self.environ,
                pinned=self.pinned,
            )
            stack.push_async_callback(crew.close)
            await crew.open()
            streamed = await Drive(work, crew, _rows(work)).run()
        work.tally.pay(before, await asyncio.to_thread(books.of_run, work.handle))
        return streamed


def _rows(work: Work) -> Rows:
    plan = work.plan
    names = [name for name, _, _ in plan.evaluators]
    return Rows(plan.source_schema, plan.output_schema, names, plan.stamp(work.handle.run_id))
