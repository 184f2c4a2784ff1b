"""Batches that are with a provider: looked after before a run goes on, waited for, listed, cancelled."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from loom_dagster.assembly.desk import spool_folder
from loom_dagster.batches import Clerk, Waiting
from loom_dagster.errors import LoomError, Misconfigured, Transient
from loom_dagster.events import Listener, Note
from loom_dagster.gateway import AnswerStore, PriceBook
from loom_dagster.ledger import AnswerLog, BatchRow, Ledger, RunRow, Spool
from loom_dagster.pipeline import Counts, Outcome, Stop, Verdict

if TYPE_CHECKING:
    from loom_dagster.assembly.plan import Materials
    from loom_dagster.assembly.prepared import Prepared
    from loom_dagster.clock import Clock
    from loom_dagster.settings import Settings

__all__ = ["Batching", "Ready"]

_FIRST_LOOK = 5.0  # seconds; then longer each time
_GROWS = 1.5
_LOOKED_AT = 500  # batches, newest first


class Home(Protocol):
    """What is needed of the project."""

    settings: Settings

    @property
    def clock(self) -> Clock: ...

    @property
    def ledger(self) -> Ledger: ...

    def answers(self) -> AnswerLog: ...


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
        outcome of a run that has to wait on; None when there is nothing (more) to wait for.

        Raises what keeps a batch of it from being sent or read.
        """
        book, name, partition = self._home.ledger.batches, ready.spec.name, ready.partition
        if ready.options.trial or ready.errors:
            return None
        run = self._home.ledger.open_run(name, partition)
        named = _batches_of(run)
        rows = [
            row
            for row in book.open()
            if (row.pipeline == name and row.partition == partition) or row.batch_id in named
        ]
        if not rows:
            return None

        def note(text: str) -> None:
            listen(Note(pipeline=name, text=text))

        goes_on = run is not None and run.fingerprint == ready.fingerprint() and not ready.options.fresh
        try:
            self._attend(rows, materials.store, note)
        except LoomError as error:
            if goes_on and not isinstance(error, Transient):
                raise
            note(error.sentence())
        if run is None or not goes_on:
            return None  # what was asked before is brought home by the way
        left = [row for row in book.open() if row.run_id == run.run_id or row.batch_id in named]
        return _outcome(run, ready, left) if left else None

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
                    self._attend(rows, store, say)
                except Transient as error:
                    say(f"{error.sentence()}; it is tried again")
                rows = self._open(batches)
                if not rows:
                    return self._nobody_cancelled(batches, say)
                if (words := _progress(rows)) != told:
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
        return [row for row in self._home.ledger.batches.open() if row.batch_id in batches]

    def _nobody_cancelled(self, batches: Collection[str], say: Callable[[str], None]) -> bool:
        for row in (row for batch in batches for row in self._home.ledger.batches.get(batch)):
            if row.cancelled_by is not None:
                say(f"batch {row.batch_id} was cancelled by {row.cancelled_by}")
                return False
        return True

    def cancel(self, beginning: str, who: str) -> BatchRow:
        """Ask the provider to end a batch. Raises Misconfigured for one that is not there, or not open."""
        found = self._home.ledger.batches.get(beginning)
        if len(found) != 1:
            what = "there is no batch" if not found else f"{len(found)} batches begin with"
            raise Misconfigured(f"{what} `{beginning}`", fix="loom batches list")
        [row] = found
        if row.state != "submitted":
            raise Misconfigured(f"batch {row.batch_id} is {row.state}: there is nothing to cancel")
        store = self._home.answers()
        try:
            self._with_clerk(store, lambda clerk: clerk.cancel(row, who))
        finally:
            store.close()
        return self._home.ledger.batches.get(row.batch_id)[0]

    def due(self, name: str) -> tuple[Sequence[Ready], str]:
        """For a sensor: the runs of a pipeline that can go on, and in words what the others wait for. Looks at the
        batches, and leaves their answers to the run. Raises like ``before``."""
        book = self._home.ledger.batches
        waiting = [row for row in book.open(name) if row.state != "ended"]
        if waiting:
            store = self._home.answers()
            try:
                self._with_clerk(store, *[_look(row) for row in waiting])
            finally:
                store.close()
        found: list[Ready] = []
        open_rows = {row.batch_id: row for row in book.open()}
        words: list[str] = []
        for partition in sorted({row.partition for row in book.rows(pipeline=name, limit=_LOOKED_AT)}):
            run = self._home.ledger.open_run(name, partition)
            if run is None or self._home.ledger.takings.is_running(name, partition):
                continue
            own = {row.batch_id: row for row in book.rows(pipeline=name, run_id=run.run_id)}
            named = _batches_of(run) or [batch for batch in own if batch in open_rows]
            left = [open_rows[batch] for batch in named if batch in open_rows]
            mine = [own[batch] for batch in named if batch in own]
            if any(row.state != "ended" for row in left):
                words.append(_progress(left))
            elif any(row.cancelled_by or row.state == "refused" for row in mine):
                words.append(f"a batch was cancelled or refused: loom run {name} asks again")
            elif named:
                found.append(Ready(partition=run.partition, key=f"{run.run_id}-{run.resumes}"))
        return found, "; ".join(words) or "no run waits for a batch"

    def _attend(self, rows: Sequence[BatchRow], store: AnswerStore, note: Callable[[str], None]) -> None:
        self._with_clerk(store, *[_attend(row) for row in rows], note=note)

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


def _attend(row: BatchRow) -> Callable[[Clerk], Any]:
    return lambda clerk: clerk.attend(row)


def _look(row: BatchRow) -> Callable[[Clerk], Any]:
    return lambda clerk: clerk.look(row)


def _batches_of(run: RunRow | None) -> list[str]:
    """What the last start of a run said it waits for."""
    if run is None or run.outcome is None:
        return []
    return [str(each["batch"]) for each in run.outcome.get("batches", ())]


def _progress(rows: Sequence[BatchRow]) -> str:
    done, requests = sum(row.done + row.failed for row in rows), sum(row.requests for row in rows)
    states = ", ".join(sorted({(row.provider_state or row.state).replace("_", " ") for row in rows}))
    number = f"batch {rows[0].batch_id}" if len(rows) == 1 else f"{len(rows)} batches"
    return f"{number}: {states}, {done:,} of {requests:,} questions done"


def _outcome(run: RunRow, ready: Prepared, rows: Sequence[BatchRow]) -> Outcome:
    """A run that waits, as its last start left it, and its batches as they are now."""
    kept: Mapping[str, Any] = run.outcome or {}
    known = kept.get("counts", {})
    counts = Counts(**{name: int(known.get(name, 0)) for name in Counts.__dataclass_fields__})
    return Outcome(
        run_id=run.run_id,
        pipeline=run.pipeline,
        version=run.version,
        partition=ready.partition,
        status="deferred",
        counts=counts,
        verdict=Verdict(passed=False, reason="the answers come with a batch; the next start continues it"),
        resumed=True,
        reasons=kept.get("reasons", {}),
        versions=kept.get("versions", {}),
        batches=tuple(Waiting.of(row) for row in rows),
        in_batches=counts.deferred,
    )
