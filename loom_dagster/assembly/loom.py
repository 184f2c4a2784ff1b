"""A project, opened: the one place where settings become objects.

The command line and Dagster both speak to a pipeline through ``Loom`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loom_dagster.assembly.alerting import alerting, deliver_alerts, tell_fault
from loom_dagster.assembly.state import State
from loom_dagster.errors import LoomError
from loom_dagster.events import Listener, ignore
from loom_dagster.settings import RunOptions, whoami

if TYPE_CHECKING:
    from loom_dagster.alerts import Delivered
    from loom_dagster.assembly.prepared import Prepared
    from loom_dagster.assembly.report import Report
    from loom_dagster.ledger import QuarantineEntry, WatermarkRow
    from loom_dagster.pipeline import BatchDone, Consumed, LoadResult, Outcome, Stop
    from loom_dagster.release import Snapshot
    from loom_dagster.watermark import Watermark

# Rooms that need pyarrow, SQLAlchemy or aiohttp are imported where they are used: code locations run nothing.

__all__ = ["Loom"]


class Loom(State):
    """One project. Cheap to open; what a method needs is built when it is called."""

    def validate(self, name: str, *, strict: bool = False, connections: bool = False) -> Report:
        """Everything there is to say of a pipeline without running it; with ``connections`` source and
        destination are tried. Raises Misconfigured for an unknown name only."""
        from loom_dagster.assembly.report import broken_report, report, try_connections

        if name in self.project.broken:
            return broken_report(name, self.project.problems_of(name))
        with self.scratch() as scratch:
            ready = self.prepared(name, RunOptions(strict=strict), scratch, validating=True)
            return report(ready, connections=try_connections(ready, self.settings) if connections else None)

    def run(
        self,
        name: str,
        options: RunOptions | None = None,
        *,
        listen: Listener = ignore,
        partition: str = "",
        stop: Stop | None = None,
        dagster_run_id: str | None = None,
    ) -> Outcome:
        """Extract, transform, evaluate; a snapshot, its verdict and, if it passed, its release. Of a partitioned
        pipeline the ``partition`` that is named.

        Blocks; may be called from any thread. Raises Misconfigured before anything is spent.
        """
        from loom_dagster.assembly.plan import make_plan
        from loom_dagster.assembly.telemetry import watched
        from loom_dagster.pipeline import Stop

        trial = options is not None and options.trial
        told = alerting(self, name, "run_failed", partition=partition, trial=trial, by=dagster_run_id)
        with told, self.scratch() as scratch, self.materials() as materials:
            taken = None if trial else self.triggers.taken(name, partition)
            ready = self.prepared(name, options, scratch, partition=partition)
            if (waiting := self.batching.before(ready, materials, listen=listen)) is not None:
                return waiting
            plan = replace(make_plan(ready, materials), taken=taken)
            outcome = watched(self.settings)(
                plan,
                self.ledger,
                fresh=options is not None and options.fresh,
                listen=listen,
                stop=stop or Stop(),
                clock=self.clock,
                dagster_run_id=dagster_run_id,
            )
        return self._with_quarantine(outcome)

    def retry(
        self,
        name: str,
        ids: Sequence[str] | None,
        options: RunOptions | None = None,
        *,
        partition: str = "",
        listen: Listener = ignore,
        stop: Stop | None = None,
    ) -> Outcome:
        """Try records of the quarantine again (all that can be, or ``ids``): a new snapshot that is
        the newest one plus those that pass now."""
        from loom_dagster.assembly.replay import replay

        with self.scratch() as scratch, self.materials() as materials:
            ready = self.prepared(name, options, scratch, partition=partition)
            outcome = replay(ready, materials, self.ledger, ids, listen=listen, stop=stop)
        return self._with_quarantine(outcome)

    def stream(
        self,
        name: str,
        *,
        batches: int | None = None,
        until_empty: bool = False,
        listen: Listener = ignore,
        done: Callable[[BatchDone], None] = lambda _: None,
        stop: Stop | None = None,
    ) -> Consumed:
        """Consume the pipeline's stream until ``stop``, batch by batch."""
        from loom_dagster.assembly.streaming import stream
        from loom_dagster.spec import is_stream

        file = self.project.files.get(name)
        mistaken = file is not None and not is_stream(file.spec.extract.source)
        told = alerting(self, name, "run_failed", trial=mistaken, once=True)
        with told, self.scratch() as scratch, self.materials() as materials:
            return stream(
                self.prepared(name, None, scratch),
                materials,
                self,
                batches=batches,
                until_empty=until_empty,
                scratch=scratch,
                listen=listen,
                done=done,
                stop=stop,
            )

    def load(
        self,
        name: str,
        options: RunOptions | None = None,
        only: Snapshot | None = None,
        *,
        partition: str = "",
        dagster_run_id: str | None = None,
    ) -> LoadResult:
        """Load what is released (``only``: that), whichever run it came from. Loading twice changes nothing."""
        from loom_dagster.assembly.loading import load_released
        from loom_dagster.assembly.pieces import chosen_partition

        if only is None:
            partition = chosen_partition(self.spec(name), partition, self.clock.now())
        trial = options is not None and options.trial
        batch = only or self.releases.released(name, partition)
        told = alerting(
            self,
            name,
            "load_failed",
            partition=partition,
            trial=trial,
            by=dagster_run_id,
            of=batch.id if batch else None,
        )
        with told:
            result = load_released(
                self.project.pipeline(name), self.settings, self.ledger, self.releases,
                partition=partition, trial=trial, only=only,
            )  # fmt: skip
            if result.snapshot and result.refused and not result.rows:
                words = f"all {result.refused:,} rows were refused; the quarantine says why"
                tell_fault(
                    self, name, "load_failed", result.snapshot, {"summary": words},
                    partition=partition, by=dagster_run_id,
                )  # fmt: skip
        if result.loaded:
            self.publish_quarantine(name)
        return result

    def verdict(self, name: str, partition: str = "") -> Snapshot | None:
        """The newest snapshot with its verdict, released or held."""
        return self.releases.latest(name, partition)

    def verdicts(self, name: str) -> dict[str, Snapshot]:
        """The newest snapshot of each partition, by its key."""
        found = reversed(self.releases.snapshots(name))  # newest last
        return {s.partition: s for s in found if s.partition and not s.partition.startswith("~")}

    def released(self, name: str, partition: str = "") -> Snapshot | None:
        """The newest released snapshot: the only one anybody may read."""
        return self.releases.released(name, partition)

    def release(self, name: str, *, why: str, who: str | None = None, partition: str = "") -> Snapshot:
        """A human lets the newest held snapshot through. Raises Misconfigured when there is none."""
        self.spec(name)
        return self.releases.release_held(name, partition, why=why, who=who or whoami(self._environ))

    def deliver_alerts(self) -> Delivered:
        """Send the alerts that wait, for half a minute at most; what is left waits for the next call."""
        return deliver_alerts(self)

    def quarantine(
        self, name: str, *, resolved: bool = False, partition: str | None = None
    ) -> list[QuarantineEntry]:
        """The quarantined records (None: of all partitions); with ``resolved`` also those that are settled."""
        self._known(name)
        if partition is None and name in self.project.files and self.partitions(name) is None:
            partition = ""  # what it left when it had some is not there
        return self.ledger.quarantine(name, partition, unresolved=not resolved)

    def resolve(
        self, name: str, ids: Sequence[str], *, resolution: str, who: str = "", partition: str | None = None
    ) -> int:
        """Mark quarantined records (None: of all partitions) as dealt with; gives how many were open."""
        self._known(name)
        number = self.ledger.resolve(
            name, ids, resolution=resolution, who=who or whoami(self._environ), partition=partition
        )
        if name in self.project.files:
            self.publish_quarantine(name)
        return number

    def publish_quarantine(self, name: str) -> int:
        """Bring the table of ``load.quarantine`` up to date; without one nothing is done. Gives how many
        records had changed. Raises Misconfigured or Transient when it cannot be written."""
        spec = self.spec(name)
        if spec.load.quarantine is None:
            return 0
        from loom_dagster.assembly.quarantine_table import publish_quarantine

        return publish_quarantine(spec, self.settings, self.ledger, self.releases, now=self.clock.now())

    def _with_quarantine(self, outcome: Outcome) -> Outcome:
        """The run has ended; a table that cannot be written does not undo it, and is not hidden either."""
        try:
            if not outcome.trial:
                self.publish_quarantine(outcome.pipeline)
        except LoomError as error:
            said = f"the quarantine's table was not written: {error.sentence()}"
            return replace(outcome, stopped_by=outcome.stopped_by or said)
        return outcome

    def prepared(
        self,
        name: str,
        options: RunOptions | None,
        scratch: Path,
        *,
        partition: str = "",
        validating: bool = False,
        without: Collection[str] = (),
    ) -> Prepared:
        """The pipeline, checked; see ``Prepared.problems``. Raises Misconfigured for a broken file."""
        from loom_dagster.assembly.pieces import chosen_partition, released_table
        from loom_dagster.assembly.prepare import prepare

        now = self.clock.now()
        partition = chosen_partition(self.spec(name), partition, now, validating=validating)
        return prepare(
            self.project.pipeline(name),
            self.settings,
            options or RunOptions(),
            lambda above: released_table(self.releases, self.spec(above), partition, now),
            scratch=scratch,
            watermark=None if "source" in without else self._watermark(name),
            partition=partition,
            now=now,
            environ=self._environ,
            validating=validating,
            without=without,
        )

    def watermark(self, name: str) -> WatermarkRow | None:
        """How far an incremental pipeline has come with its source. Raises Misconfigured for an unknown name."""
        self._known(name)
        return self.ledger.watermarks.get(name)

    def _watermark(self, name: str) -> Watermark | None:
        if self.spec(name).extract.incremental is None:
            return None
        row = self.ledger.watermarks.get(name)
        return None if row is None else row.watermark
