"""One run: extract, transform, evaluate, and the snapshot that comes of it. Loading is a step of its own.

    begin     the ledger opens a run, or continues the one that did not end
    stream    every record is settled: passed, quarantined or deferred
    commit    both tables become a snapshot in one rename
    conclude  verdict, scores, quarantine index and, if it passed, the release: one transaction

Killed at any point, the next start repeats it with the answers that are already paid for.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loom_dagster.clock import Clock
from loom_dagster.errors import LoomError, Misconfigured, Transient
from loom_dagster.events import Listener, Note, Progress, RunStarted, StageDone
from loom_dagster.ledger import Ledger, RunHandle, SpendLog
from loom_dagster.pipeline.begin import begin_when_free
from loom_dagster.pipeline.conclude import Ended, conclude
from loom_dagster.pipeline.heartbeat import keep_lease
from loom_dagster.pipeline.here import settle_here
from loom_dagster.pipeline.outcome import Outcome
from loom_dagster.pipeline.plan import Plan, Work
from loom_dagster.pipeline.stop import Stop
from loom_dagster.pipeline.stream import Streamed
from loom_dagster.pipeline.tally import Tally
from loom_dagster.records import dollars
from loom_dagster.release import SnapshotWriter, Written

__all__ = ["run"]

_NOTES = 200


@dataclass(kw_only=True)
class _Telling:
    """Tells the listener, each note once, and no more than ``_NOTES``: some are of one record."""

    pipeline: str
    listen: Listener
    notes: dict[str, None]

    def started(self, plan: Plan, handle: RunHandle) -> None:
        self.listen(
            RunStarted(
                pipeline=plan.pipeline,
                version=plan.version,
                run_id=handle.run_id,
                resumed=handle.resumed,
                model=plan.model,
                simulated=plan.simulated,
            )
        )
        for text in plan.notes:
            self.note(text)

    def note(self, text: str) -> None:
        if text in self.notes or len(self.notes) > _NOTES:
            return
        if len(self.notes) == _NOTES:
            text = f"there is more to note than these {_NOTES}; the rest is not shown"
        self.notes[text] = None
        self.listen(Note(pipeline=self.pipeline, text=text))

    def progress(self, tally: Tally, *, exhausted: bool = False) -> None:
        ahead = Counter(tally.ahead)
        self.listen(
            Progress(
                pipeline=self.pipeline,
                extracted=tally.extracted + ahead["extracted"],
                transformed=tally.transformed + ahead["passed"],
                passed=tally.passed + ahead["passed"],
                quarantined=tally.quarantined + ahead["quarantined"],
                deferred=tally.deferred + ahead["deferred"],
                cost=sum(tally.cost.values()),
                exhausted=exhausted,
            )
        )


def run(
    plan: Plan,
    ledger: Ledger,
    *,
    fresh: bool,
    listen: Listener,
    stop: Stop,
    clock: Clock,
    dagster_run_id: str | None = None,
) -> Outcome:
    """Run ``plan`` to its end. Blocks; has an event loop of its own, so it may run in any thread.

    Raises Misconfigured when another run of the pipeline is going on, or when its source cannot be
    read to the end (the run then stays open). What stops a run after records were settled, such as
    a refused key, is told by the outcome instead.
    """
    begin = functools.partial(
        ledger.begin_run,
        plan.pipeline,
        plan.partition,
        plan.fingerprint,
        version=plan.version,
        fresh=fresh,
        dagster_run_id=dagster_run_id,
    )
    handle = begin_when_free(begin, stop, lambda text: listen(Note(pipeline=plan.pipeline, text=text)))
    try:
        if plan.taken is not None:
            ledger.takings.note(handle.run_id, plan.taken)
        if plan.desk is not None:
            plan.desk.order.begin(handle)
        with ledger.spend(handle, plan.budgets, plan.paid) as spend:
            return _run(plan, handle, ledger, spend, listen=listen, stop=stop, clock=clock)
    finally:
        if plan.desk is not None:
            plan.desk.order.close()
        ledger.leave_run(handle)


def _run(
    plan: Plan,
    handle: RunHandle,
    ledger: Ledger,
    spend: SpendLog,
    *,
    listen: Listener,
    stop: Stop,
    clock: Clock,
) -> Outcome:
    tally = Tally(plan.evaluators, clock.monotonic)
    telling = _Telling(pipeline=plan.pipeline, listen=listen, notes={})
    telling.started(plan, handle)
    writer = SnapshotWriter(
        _folder(plan, handle, aside=plan.base is not None),
        source_schema=plan.source_schema,
        output_schema=plan.output_schema,
        evaluators=[name for name, _, _ in plan.evaluators],
        stamp=plan.stamp(handle.run_id),
    )
    began = clock.monotonic()
    try:
        streamed, unsent = asyncio.run(
            _stream(plan, handle, ledger, spend, writer, tally, telling, stop, clock=clock)
        )
        spend.close()
        if streamed.failure is not None:
            raise _source_failed(streamed.failure)
        settled = clock.monotonic() - began
        seconds = {**tally.seconds(), "records": settled}
        for stage, n in (
            ("extract", tally.extracted),
            ("transform", tally.transformed),
            ("evaluate", tally.passed),
        ):
            listen(StageDone(pipeline=plan.pipeline, stage=stage, records=n, seconds=seconds[stage]))
        unfinished = streamed.interrupted or bool(streamed.waits)
        written = None if unfinished else _commit(plan, handle, writer, streamed.batches)
        if written is not None:
            _tell_gone(plan, written, telling)
    except BaseException:
        writer.discard()
        raise
    if written is None:
        writer.discard()
    ended = Ended(
        tally=tally,
        written=written,
        interrupted=streamed.interrupted,
        waits=streamed.waits,
        batches=() if plan.desk is None or not streamed.waits else plan.desk.waiting(handle),
        stopped_by=streamed.stopped_by or unsent or streamed.over_budget,
        budgets=spend.use(),
        seconds={**seconds, "total": clock.monotonic() - began},
        notes=tuple(telling.notes),
    )
    outcome = conclude(plan, handle, ended, ledger, now=clock.now())
    if plan.desk is not None and outcome.status in ("succeeded", "held"):
        plan.desk.order.end()
    return outcome


async def _stream(
    plan: Plan,
    handle: RunHandle,
    ledger: Ledger,
    spend: SpendLog,
    writer: SnapshotWriter,
    tally: Tally,
    telling: _Telling,
    stop: Stop,
    *,
    clock: Clock,
) -> tuple[Streamed, LoomError | None]:
    def tick() -> None:
        telling.progress(tally)
        _warn(plan, tally, telling)

    work = Work(
        plan=plan,
        handle=handle,
        ledger=ledger,
        spend=spend,
        writer=writer,
        tally=tally,
        stop=stop,
        note=telling.note,
        tick=tick,
        clock=clock,
    )

    beating = asyncio.create_task(keep_lease(ledger, handle, spend, stop, telling.note, clock))
    try:
        streamed = await (plan.engine or settle_here)(work)
        unsent = await _send(plan, streamed, telling.note)
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
    telling.progress(tally, exhausted=True)
    _warn(plan, tally, telling)
    return streamed, unsent


async def _send(plan: Plan, streamed: Streamed, note: Callable[[str], None]) -> LoomError | None:
    """What was gathered for batches goes to the provider, unless the stream did not get to its end: then all of it is
    gathered anew by the next start. Gives what kept it from being sent."""
    if plan.desk is None:
        return None
    if streamed.interrupted or streamed.failure is not None or streamed.stopped_by is not None:
        plan.desk.order.drop()
        return None
    try:
        await plan.desk.send(note)
    except (Misconfigured, Transient) as error:
        return error
    return None


def _warn(plan: Plan, tally: Tally, telling: _Telling) -> None:
    if plan.warn_above is not None and sum(tally.cost.values()) > plan.warn_above:
        telling.note(f"more was spent than the {dollars(plan.warn_above)} of `cost_budget` (on_budget: warn)")


def _folder(plan: Plan, handle: RunHandle, *, aside: bool = False) -> Path:
    folder = plan.folder(handle.run_id)
    return folder.with_name(f"{folder.name}-retried") if aside else folder


def _commit(plan: Plan, handle: RunHandle, writer: SnapshotWriter, batches: int) -> Written:
    """One rename. Records that were tried again are first merged into the snapshot they come from."""
    written = writer.commit(batches)
    return written if plan.base is None else plan.base.merge(written, _folder(plan, handle))


def _tell_gone(plan: Plan, written: Written, telling: _Telling) -> None:
    number, some = plan.gone(written)
    if number:
        named = ", ".join(some) + (", ..." if number > len(some) else "")
        telling.note(
            f"{number:,} record{'s' if number > 1 else ''} of the last release "
            f"{'are' if number > 1 else 'is'} not in the source any more ({named}); a load deletes nothing"
        )


def _source_failed(failure: BaseException) -> BaseException:
    if isinstance(failure, LoomError) or not isinstance(failure, Exception):
        return failure
    return Misconfigured(
        "the source could not be read to its end",
        why=f"{type(failure).__name__}: {failure}",
        fix="mend the source and run again; answers already paid for are kept",
    )
