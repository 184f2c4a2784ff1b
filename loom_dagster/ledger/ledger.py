"""The project's memory of its runs: what was run, what came of it, what is released, what is in quarantine.

Not one row per record: records lie in the snapshots' files and in the answer store. Nothing secret
is ever given to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from loom_dagster.ledger import alerts, leases, quarantine, runs, snapshots
from loom_dagster.ledger.alert_rows import Findings
from loom_dagster.ledger.database import repeatable
from loom_dagster.ledger.registers import Registers
from loom_dagster.ledger.rows import (
    Budgets,
    IndexRow,
    QuarantineEntry,
    RunHandle,
    RunRow,
    SnapshotRow,
    VersionRow,
)
from loom_dagster.ledger.shares import LimitShares
from loom_dagster.ledger.spend import Stored
from loom_dagster.ledger.spend_log import SpendLog
from loom_dagster.ledger.watermarks import advance

__all__ = ["Ledger"]


class Ledger(Registers):
    """May be used from several threads and by several processes at once.

    Every method is one transaction, and raises Misconfigured (kind ``ledger``) when the database cannot be used: a
    server that was there is waited for, half a minute, and nothing is written twice.
    """

    # --- runs

    def begin_run(
        self,
        pipeline: str,
        partition: str,
        fingerprint: str,
        *,
        version: str | None = None,
        fresh: bool = False,
        dagster_run_id: str | None = None,
    ) -> RunHandle:
        """Continue the open run with this fingerprint, or begin one; an open run with another
        fingerprint is superseded, and with ``fresh`` any.

        Raises Taken (kind ``lease``) while another run of this slot is alive.
        """

        def begin(connection: Connection) -> RunHandle:
            now = self._clock.now()
            if self._database.schema is None:
                leases.refuse_other_machines(connection, now)
            leases.refuse_if_taken(connection, pipeline, partition, now)
            run_id, started_at, resumed, allowance = runs.begin(
                connection,
                pipeline,
                partition,
                fingerprint,
                version=version,
                fresh=fresh,
                dagster_run_id=dagster_run_id,
                now=now,
                luck=self._clock.random(),
            )
            return RunHandle(
                run_id=run_id,
                pipeline=pipeline,
                partition=partition,
                fingerprint=fingerprint,
                resumed=resumed,
                started_at=started_at,
                token=leases.take(connection, pipeline, partition, run_id, now),
                allowance=allowance,
            )

        return self._database.write(begin)

    def heartbeat(self, run: RunHandle) -> None:
        """Keep the lease; call it every 10 s or so, it lasts for 60 s.

        Raises Misconfigured (kind ``lease``) when the lease is lost: stop, without writing.
        """
        self._database.write(lambda connection: leases.beat(connection, run, self._clock.now()))

    def leave_run(self, run: RunHandle) -> None:
        """Give the lease back without a word on the run, which stays open. Harmless when it has ended."""
        self._database.write(lambda connection: leases.give_back(connection, run))

    def finish_run(
        self,
        run: RunHandle,
        status: str,
        *,
        outcome: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
        evaluations: Iterable[Mapping[str, Any]] = (),
        versions: Iterable[VersionRow] = (),
        snapshot: SnapshotRow | None = None,
        quarantine_rows: Iterable[IndexRow] = (),
        passed: Iterable[str] = (),
        saw_everything: bool = False,
        budget_used_up: bool = False,
        findings: Findings | None = None,
    ) -> None:
        """Everything that came of a run, in one transaction; gives the lease back.

        ``status`` deferred and interrupted leave the run open. ``evaluations``: fields of
        ScoreSummary. ``passed``: ids whose quarantine entries are resolved by this run.
        ``saw_everything``: what is still in quarantine from before is gone from the source.
        ``budget_used_up``: the next start of this run has its budget anew. ``findings``: what it alerts people of.
        Iterators are read into memory first, as all of it may be written again; what is read from its
        file each time is not. Raises Misconfigured (kind ``lease``) when the lease is lost; nothing is kept then.
        """
        if status not in runs.STATUSES:
            raise ValueError(f"a run cannot end as {status!r}")
        scores, seen = repeatable(evaluations), repeatable(versions)
        rows, ids = repeatable(quarantine_rows), repeatable(passed)

        def finish(connection: Connection) -> None:
            now = self._clock.now()
            leases.check(connection, run)
            runs.finish(
                connection,
                run.run_id,
                status,
                outcome=outcome,
                metrics=metrics or {},
                scores=scores,
                seen=seen,
                now=now,
                budget_used_up=budget_used_up,
            )
            if snapshot is not None:
                snapshots.keep(connection, snapshot)
                slot = (connection, run.pipeline, run.partition)
                quarantine.index(*slot, run.run_id, rows, now=now)
                word = f"passed in run {run.run_id}"
                quarantine.resolve(*slot, ids, resolution=word, who="run", now=now)
                if saw_everything:
                    quarantine.close_older(*slot, run.run_id, now)
            if findings is not None:
                alerts.tell_of_run(connection, run.run_id, findings, recovered="passed", now=now)
            leases.give_back(connection, run)

        self._database.write(finish)

    def spend(self, run: RunHandle, budgets: Budgets, stored: Stored) -> SpendLog:
        """The money of a run; the caller closes it. ``stored`` looks answers up, to know what killed runs paid."""
        return SpendLog(self._database, run, budgets, stored, clock=self._clock)

    def open_run(self, pipeline: str, partition: str = "") -> RunRow | None:
        """The run that the next start would continue, if its fingerprint is the same."""
        row = self._database.read(lambda connection: runs.open_run(connection, pipeline, partition))
        return None if row is None else self.run(row.run_id)

    def runs(self, pipeline: str | None = None, limit: int | None = 20) -> list[RunRow]:
        """Newest first."""
        return self._database.read(lambda c: runs.list_runs(c, pipeline=pipeline, limit=limit))

    def run(self, run_id: str) -> RunRow | None:
        return next(iter(self._database.read(lambda c: runs.list_runs(c, run_id=run_id))), None)

    def metrics(self, run_id: str) -> dict[str, float]:
        return self._database.read(lambda c: runs.metrics_of(c, run_id))

    def evaluations(self, run_id: str) -> list[dict[str, Any]]:
        """One mapping per evaluator, with the fields of ScoreSummary."""
        return self._database.read(lambda c: runs.evaluations_of(c, run_id))

    def versions(self, kind: str | None = None) -> list[tuple[VersionRow, str]]:
        """Every version seen and the run that saw it first, oldest first."""
        return self._database.read(lambda c: runs.list_versions(c, kind))

    # --- limits

    def limit_shares(self) -> LimitShares:
        """A new member among those who share limits."""
        return LimitShares(self._database, self._clock)

    # --- snapshots

    def latest_snapshot(self, pipeline: str, partition: str = "") -> SnapshotRow | None:
        """Released or held."""
        return self._database.read(lambda c: snapshots.newest(c, pipeline, partition))

    def released_snapshot(self, pipeline: str, partition: str = "") -> SnapshotRow | None:
        """The newest that is released, in the order of runs."""
        return self._database.read(lambda c: snapshots.newest(c, pipeline, partition, released=True))

    def snapshot(self, pipeline: str, run_id: str) -> SnapshotRow | None:
        found = self._database.read(lambda c: snapshots.list_snapshots(c, pipeline, run_id=run_id))
        return next(iter(found), None)

    def snapshots(self, pipeline: str, partition: str | None = None) -> list[SnapshotRow]:
        """Newest first; of every partition when none is named."""
        return self._database.read(lambda c: snapshots.list_snapshots(c, pipeline, partition))

    def release(self, pipeline: str, partition: str = "", *, who: str, why: str) -> SnapshotRow:
        """Release the newest snapshot. Raises Misconfigured when it is not held, or while a run is going on."""
        now = self._clock.now()
        return self._database.write(
            lambda c: snapshots.release(c, pipeline, partition, who=who, why=why, now=now)
        )

    # --- sources: `watermarks` and `takings`

    def loaded(
        self, pipeline: str, run_id: str, *, refused: Sequence[IndexRow] = (), nothing: bool = False
    ) -> None:
        """The snapshot of a run is in its destination, but for ``refused`` rows (``nothing``: all): its watermark counts."""
        now = self._clock.now()

        def work(connection: Connection) -> None:
            [row] = snapshots.list_snapshots(connection, pipeline, run_id=run_id)
            slot = (connection, pipeline, row.partition)
            quarantine.settle_loads(*slot, run_id, {r.record_id for r in refused}, now)
            quarantine.index(*slot, run_id, refused, now=now)
            advance(connection, row, now)
            if not nothing:
                alerts.tell_of_load(connection, run_id, now)

        self._database.write(work)

    # --- quarantine

    def quarantine(
        self,
        pipeline: str,
        partition: str | None = None,
        *,
        ids: Sequence[str] | None = None,
        unresolved: bool = False,
    ) -> list[QuarantineEntry]:
        """Entries, newest run first; of every partition (but scratch) when none is named."""
        return self._database.read(
            lambda c: quarantine.entries(c, pipeline, partition, ids=ids, unresolved=unresolved)
        )

    def quarantines(self, pipeline: str, partition: str) -> bool:
        """Whether any record there is not resolved."""
        return self._database.read(lambda c: quarantine.any_open(c, pipeline, partition))

    def waiting_runs(self, pipeline: str, partition: str) -> set[str]:
        """The runs that put there what is not resolved yet."""
        return self._database.read(lambda c: quarantine.open_runs(c, pipeline, partition))

    def resolve(
        self, pipeline: str, ids: Iterable[str], *, resolution: str, who: str, partition: str | None = None
    ) -> int:
        """Close the open entries of ``ids`` by a human's word; gives how many there were."""
        ids, now = repeatable(ids), self._clock.now()
        return self._database.write(
            lambda c: quarantine.resolve_by_hand(
                c, pipeline, partition, ids, resolution=resolution, who=who, now=now
            )
        )

    def samples(self, pipeline: str, partition: str, ids: Sequence[str] | None = None) -> dict[str, int]:
        """For each record in the index: how many answers it had so far, which is the next sample number."""
        return {e.record_id: e.sample for e in self.quarantine(pipeline, partition, ids=ids)}
