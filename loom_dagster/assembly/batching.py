"""Batches that are with a provider: looked after before a run goes on, waited for, listed, cancelled."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from loom_dagster.assembly.desk import spool_folder
from loom_dagster.assembly.waiting_runs import batches_of, oldest_first, progress, still_waits
from loom_dagster.batches import Clerk
from loom_dagster.errors import LoomError, Misconfigured, Transient
from loom_dagster.events import Listener, Note
from loom_dagster.gateway import AnswerStore, PriceBook
from loom_dagster.ledger import Answers, BatchRow, Ledger, Spool
from loom_dagster.pipeline import Outcome, Stop

if TYPE_CHECKING:
    from loom_dagster.assembly.plan import Materials
    from loom_dagster.assembly.prepared import Prepared
    from loom_dagster.clock import Clock
    from loom_dagster.settings import Settings

__all__ = ["Batching", "Ready"]

_FIRST_LOOK = 5.0  # seconds; then longer each time
_GROWS = 1.5
_A_DAY = timedelta(hours=25)  # no batch takes longer, by what providers say


class Home(Protocol):
    """What is needed of the project."""

    settings: Settings

    @property
    def clock(self) -> Clock: ...

    @property
    def ledger(self) -> Ledger: ...

    def answers(self) -> Answers: ...

    def names(self) -> list[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A run that waited, and can go on: all its batches have ended. ``key`` names what it waited for."""

    partition: str
    key: str


class Batching:
    """Of one project."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def before(self, ready: Prepared, materials: Materials, *, listen: Listener) -> Outcome | None:
        """What there is to do before a run may go on: batches of its slot are sent, looked at, collected. Gives the
        outcome of a run that has to wait on; None when there is nothing (more) to wait for. Batches that nobody comes
        back for are brought home by the way.

        Raises what keeps a batch of it from being sent or read.
        """
        book, name, partition = self._home.ledger.batches, ready.spec.name, ready.partition
        if ready.options.trial or ready.errors:
            return None
        run = self._home.ledger.open_run(name, partition)
        named = batches_of(run)
        found = oldest_first(book.open())
        if not found:
            return None
        rows = [
            row
            for row in found
            if (row.pipeline == name and row.partition == partition) or row.batch_id in named
        ]
        goes_on = run is not None and run.fingerprint == ready.fingerprint() and not ready.options.fresh
        over = run.run_id if run is not None and not goes_on else None

        def note(text: str) -> None:
            listen(Note(pipeline=name, text=text))

        try:
            self._attend(rows, materials.store, note, lambda row: row.run_id != over and self._wanted(row))
        except LoomError as error:
            if goes_on and not isinstance(error, Transient):
                raise
            note(error.sentence())
        try:
            strays = [row for row in found if row not in rows and self._strays(row)]
            self._attend(strays, materials.store, note, lambda row: False)
        except LoomError as error:
            note(error.sentence())
        if run is None or not goes_on:
            return None  # what was asked before is brought home by the way
        left = [row for row in book.open() if row.run_id == run.run_id or row.batch_id in named]
        return still_waits(run, ready, left) if left else None

    def wait(
        self,
        batches: Collection[str],
        stop: Stop,
        *,
        timeout: float | None,
        say: Callable[[str], None] = lambda text: None,
    ) -> bool:
        """Look at ``batches`` until each of them is settled. False when it was stopped, took longer than ``timeout``
        seconds, or somebody has cancelled one: then nothing is asked again by itself. Raises Misconfigured when
        somebody has to change something first."""
        said: set[str] = set()

        def once(text: str) -> None:
            if text not in said:
                said.add(text)
                say(text)

        clock, asked, longest = self._home.clock, threading.Event(), self._home.settings.batch_poll
        stop.when_requested(asked.set)
        until = None if timeout is None else clock.monotonic() + timeout
        pause, told = min(_FIRST_LOOK, longest), ""
        store = self._home.answers()
        try:
            while not stop.requested:
                rows = self._open(batches)
                if not rows:
                    return self._nobody_cancelled(batches, say)
                try:
                    self._attend(rows, store, once, self._wanted)
                except Transient as error:
                    say(f"{error.sentence()}; it is tried again")
                rows = self._open(batches)
                if not rows:
                    return self._nobody_cancelled(batches, say)
                if (words := progress(rows)) != told:
                    told = words
                    say(words)
                left = pause if until is None else min(pause, until - clock.monotonic())
                if left <= 0 or asked.wait(left):
                    return False
                pause = min(pause * _GROWS, longest)
        finally:
            store.close()
        return False

    def _open(self, batches: Collection[str]) -> list[BatchRow]:
        return [row for row in oldest_first(self._home.ledger.batches.open()) if row.batch_id in batches]

    def _nobody_cancelled(self, batches: Collection[str], say: Callable[[str], None]) -> bool:
        for row in (row for batch in batches for row in self._home.ledger.batches.get(batch)):
            if row.cancelled_by is not None:
                say(f"batch {row.batch_id} was cancelled by {row.cancelled_by}")
                return False
        return True

    def cancel(self, beginning: str, who: str) -> BatchRow:
        """Ask the provider to end a batch. Raises Misconfigured for one that is not there, or not open."""
        row = self._named(beginning)
        if row.state != "submitted":
            raise Misconfigured(f"batch {row.batch_id} is {row.state}: there is nothing to cancel")
        return self._done(row, lambda clerk: clerk.cancel(row, who))

    def forget(self, beginning: str, who: str) -> BatchRow:
        """Wait no longer for a batch whose questions are gone with their folder: it counts at the most it can have
        cost. Raises Misconfigured for one that is not there, not open, or can be read."""
        row = self._named(beginning)
        if row.settled_at is not None:
            raise Misconfigured(f"batch {row.batch_id} is {row.state}: nobody waits for it")
        return self._done(row, lambda clerk: clerk.forget(row, who))

    def _named(self, beginning: str) -> BatchRow:
        found = self._home.ledger.batches.get(beginning)
        if len(found) != 1:
            what = "there is no batch" if not found else f"{len(found)} batches begin with"
            raise Misconfigured(f"{what} `{beginning}`", fix="loom batches list")
        return found[0]

    def _done(self, row: BatchRow, step: Callable[[Clerk], Any]) -> BatchRow:
        store = self._home.answers()
        try:
            self._with_clerk(store, step)
        finally:
            store.close()
        return self._named(row.batch_id)

    def due(self, name: str) -> tuple[Sequence[Ready], str]:
        """For a sensor: the runs of a pipeline that can go on, and in words what the others wait for. Looks at the
        batches, and leaves their answers to the run. Raises like ``before``."""
        ledger = self._home.ledger
        book, slots = (
            ledger.batches,
            sorted(r.partition for r in ledger.retention.open_runs() if r.pipeline == name),
        )
        runs = [run for slot in slots if (run := ledger.open_run(name, slot)) is not None]
        asked = {
            batch for run in runs for batch in batches_of(run)
        }  # another pipeline may have sent some of them
        looked_at = [
            row for row in oldest_first(book.open()) if row.pipeline == name or row.batch_id in asked
        ]
        if waiting := [row for row in looked_at if row.state != "ended"]:
            store = self._home.answers()
            try:
                self._with_clerk(store, *[_look(row, wanted=self._wanted(row)) for row in waiting])
            finally:
                store.close()
        found: list[Ready] = []
        open_rows = {row.batch_id: row for row in book.open()}
        words: list[str] = []
        for run in runs:
            if ledger.takings.is_running(name, run.partition):
                continue
            own = {row.batch_id: row for row in book.rows(pipeline=name, run_id=run.run_id)}
            named = batches_of(run) or [batch for batch in own if batch in open_rows]
            left = [open_rows[batch] for batch in named if batch in open_rows]
            mine = [own[batch] for batch in named if batch in own]
            if any(row.state != "ended" for row in left):
                words.append(progress(left))
            elif any(row.cancelled_by or row.state == "refused" for row in mine):
                words.append(f"a batch was cancelled or refused: loom run {name} asks again")
            elif named:
                found.append(Ready(partition=run.partition, key=f"{run.run_id}-{run.resumes}"))
        return found, "; ".join(words) or "no run waits for a batch"

    def _attend(
        self,
        rows: Sequence[BatchRow],
        store: AnswerStore,
        note: Callable[[str], None],
        wanted: Callable[[BatchRow], bool],
    ) -> None:
        if rows:
            self._with_clerk(store, *[_attend(row, wanted=wanted(row)) for row in rows], note=note)

    def _wanted(self, row: BatchRow) -> bool:
        """Whether there is a run that waits for it; what nobody waits for is not sent any more."""
        run = self._home.ledger.open_run(row.pipeline, row.partition)
        return run is not None and run.run_id == row.run_id and row.pipeline in self._home.names()

    def _strays(self, row: BatchRow) -> bool:
        """Whether nobody comes back for it: the pipeline has gone or has begun anew, or has long not been started."""
        if not self._wanted(row):
            return True
        return row.state != "submitting" and self._home.clock.now() - row.created_at > _A_DAY

    def _with_clerk(
        self,
        store: AnswerStore,
        *steps: Callable[[Clerk], Any],
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Every step is tried; the first error is raised when all were."""
        spool = Spool(spool_folder(self._home.settings))

        async def work() -> None:
            failed: list[LoomError] = []
            async with Clerk(
                self._home.ledger.batches,
                spool,
                store,
                prices=PriceBook.load(),
                clock=self._home.clock,
                environ=os.environ,
                note=note,
            ) as clerk:
                for step in steps:
                    try:
                        await step(clerk)
                    except LoomError as error:
                        failed.append(error)
            if failed:
                raise next((e for e in failed if not isinstance(e, Transient)), failed[0])

        try:
            asyncio.run(work())
        finally:
            spool.close()


def _attend(row: BatchRow, *, wanted: bool) -> Callable[[Clerk], Any]:
    return lambda clerk: clerk.attend(row, wanted=wanted)


def _look(row: BatchRow, *, wanted: bool) -> Callable[[Clerk], Any]:
    return lambda clerk: clerk.look(row, wanted=wanted)
