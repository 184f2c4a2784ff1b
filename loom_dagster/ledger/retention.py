"""What the ledger knows of old things: which snapshots may go, and what of old runs is more than history needs.

A snapshot is marked before its files go, so that a process that is killed in between leaves no snapshot that is half there:
what is marked is not read any more, and the next look removes the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from loom_dagster.clock import Clock
from loom_dagster.ledger.audit import Deed, keep
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.leases import is_taken
from loom_dagster.ledger.quarantine import open_runs
from loom_dagster.ledger.rows import SnapshotRow
from loom_dagster.ledger.runs import OPEN
from loom_dagster.ledger.snapshots import list_snapshots
from loom_dagster.ledger.tables import leases, quarantine, runs, snapshots
from loom_dagster.records import to_json

__all__ = ["OpenRun", "Retention", "Slot"]

_AT_ONCE = 500
_SAMPLES = ("sample", "quarantine_sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that the next start continues."""

    run_id: str
    pipeline: str
    partition: str
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The snapshots of a partition, newest first. ``waiting``: runs whose snapshots hold records that wait in
    quarantine; ``going_on``: runs that have not ended; ``taken``: one is alive."""

    partition: str
    rows: Sequence[SnapshotRow]
    waiting: frozenset[str]
    going_on: frozenset[str]
    taken: bool


class Retention:
    """Old things of a project. Every method is one transaction, or several small ones."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def pipelines(self) -> list[str]:
        """All that ever ran, sorted."""
        query = select(runs.c.pipeline).distinct().order_by(runs.c.pipeline)
        return self._database.read(lambda c: list(c.scalars(query)))

    def open_runs(self) -> list[OpenRun]:
        query = select(runs.c.run_id, runs.c.pipeline, runs.c.partition, runs.c.started_at).where(
            runs.c.status.in_(OPEN)
        )
        rows = self._database.read(lambda c: c.execute(query).mappings().all())
        return [OpenRun(**row) for row in rows]

    def alive(self) -> set[str]:
        """The pipelines of which a run is going on."""
        return self._database.read(lambda c: _alive(c, self._clock.now()))

    def slots(self, pipeline: str) -> list[Slot]:
        return self._database.read(lambda c: _slots(c, pipeline, self._clock.now()))

    def mark(
        self,
        pipeline: str,
        choose: Callable[[Slot], Sequence[str]],
        deed: Callable[[Sequence[str]], Deed],
        *,
        readers: Sequence[str] = (),
    ) -> list[str]:
        """Mark as removed the snapshots that are chosen of each partition in which no run is going on, and keep the deed.
        None while one of the ``readers`` runs."""
        now = self._clock.now()

        def work(connection: Connection) -> list[str]:
            if _alive(connection, now) & set(readers):
                return []
            found = [i for slot in _slots(connection, pipeline, now) if not slot.taken for i in choose(slot)]
            for start in range(0, len(found), _AT_ONCE):
                piece = snapshots.c.run_id.in_(found[start : start + _AT_ONCE])
                connection.execute(update(snapshots).where(piece).values(cleaned_at=now))
            if found:
                keep(connection, deed(found), now)
            return found

        return self._database.write(work)

    def samples(self, pipelines: Sequence[str], before: datetime) -> tuple[int, int]:
        """Of how many runs that ended before then rows are kept as a sample, and their bytes."""
        old = _old(pipelines, before)
        found = self._database.read(lambda c: [_sampled(row)[0] for row in c.execute(old)])
        sizes = [size for size in found if size]
        return len(sizes), sum(sizes)

    def trim(self, pipelines: Sequence[str], before: datetime) -> int:
        """Let their samples go; everything else that is known of them stays. Gives how many runs."""
        ids = [row.run_id for row in self._database.read(lambda c: c.execute(_old(pipelines, before)).all())]
        done = 0
        for start in range(0, len(ids), _AT_ONCE):
            done += self._database.write(functools.partial(_trim, ids[start : start + _AT_ONCE]))
        return done

    def resolved(self, pipelines: Sequence[str], before: datetime) -> int:
        """How many quarantine entries were settled before then, of snapshots that are gone."""
        query = select(func.count()).select_from(quarantine).where(_settled(pipelines, before))
        return self._database.read(lambda c: c.scalar(query)) or 0

    def forget_resolved(self, pipelines: Sequence[str], before: datetime) -> int:
        """Take them out of the index; those that wait for somebody never go."""
        keys = (quarantine.c.pipeline, quarantine.c.partition, quarantine.c.record_id)

        def work(connection: Connection) -> int:
            some = connection.execute(select(*keys).where(_settled(pipelines, before)).limit(_AT_ONCE)).all()
            for pipeline, partition, record_id in some:
                one = and_(keys[0] == pipeline, keys[1] == partition, keys[2] == record_id)
                connection.execute(delete(quarantine).where(one))
            return len(some)

        total = 0
        while gone := self._database.write(work):
            total += gone
        return total


def _slots(connection: Connection, pipeline: str, now: datetime) -> list[Slot]:
    by_partition: dict[str, list[SnapshotRow]] = {}
    query = select(runs.c.partition).where(runs.c.pipeline == pipeline).distinct().order_by(runs.c.partition)
    for partition in connection.scalars(query).all():
        by_partition[partition] = []
    for row in list_snapshots(connection, pipeline):
        by_partition[row.partition].append(row)
    unfinished = select(runs.c.run_id).where(runs.c.pipeline == pipeline, runs.c.status.in_(OPEN))
    going_on = frozenset(connection.scalars(unfinished))
    return [
        Slot(
            partition=partition,
            rows=rows,
            waiting=frozenset(open_runs(connection, pipeline, partition)),
            going_on=going_on,
            taken=is_taken(connection, pipeline, partition, now),
        )
        for partition, rows in by_partition.items()
    ]


def _alive(connection: Connection, now: datetime) -> set[str]:
    rows = connection.execute(select(leases.c.pipeline, leases.c.partition)).all()
    return {pipeline for pipeline, partition in rows if is_taken(connection, pipeline, partition, now)}


def _old(pipelines: Sequence[str], before: datetime) -> Any:
    return select(runs.c.run_id, runs.c.outcome).where(
        runs.c.pipeline.in_(pipelines),
        runs.c.finished_at < before,
        runs.c.status.not_in(OPEN),
        runs.c.outcome.is_not(None),
    )


def _settled(pipelines: Sequence[str], before: datetime) -> ColumnElement[bool]:
    """While the snapshot is there that they are in, it has to be told that they are settled."""
    there = select(snapshots.c.run_id).where(
        snapshots.c.run_id == quarantine.c.run_id, snapshots.c.cleaned_at.is_(None)
    )
    return and_(quarantine.c.pipeline.in_(pipelines), quarantine.c.resolved_at < before, ~there.exists())


def _sampled(row: Any) -> tuple[int, Mapping[str, Any]]:
    """The bytes of a run's samples, and its outcome without them."""
    outcome = row.outcome or {}
    kept = {name: [] if name in _SAMPLES else value for name, value in outcome.items()}
    return sum(len(to_json(outcome[name])) for name in _SAMPLES if outcome.get(name)), kept


def _trim(ids: Sequence[str], connection: Connection) -> int:
    done = 0
    for row in connection.execute(select(runs.c.run_id, runs.c.outcome).where(runs.c.run_id.in_(ids))).all():
        size, kept = _sampled(row)
        if size:
            connection.execute(update(runs).where(runs.c.run_id == row.run_id).values(outcome=kept))
            done += 1
    return done
