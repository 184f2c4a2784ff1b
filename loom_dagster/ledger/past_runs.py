"""The numbers of runs that have ended, which later ones are compared with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from loom_dagster.ledger.database import Database
from loom_dagster.ledger.rows import PastRun
from loom_dagster.ledger.tables import evaluations, run_metrics, snapshots

__all__ = ["PastRuns"]

_SCORES = ("name", "type", "passed", "failed", "errors", "mean", "std")


class PastRuns:
    """Of every pipeline."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def before(
        self,
        pipeline: str,
        partition: str,
        run_id: str | None,
        *,
        simulated: bool = False,
        series: bool = False,
        limit: int = 100,
    ) -> list[PastRun]:
        """The runs before ``run_id`` (None: all there are, as ids follow each other in a partition only) whose snapshot is released, newest first: real ones, or ``simulated`` ones, but none
        that tried records of the quarantine again. Of a ``series`` of partitions in time the newest run of each earlier
        partition, else runs of the same one."""
        query = _in_series(pipeline, partition) if series else _of_one(pipeline, partition, run_id)
        query = query.where(_says("simulated", float(simulated)), _says("tried_again", 0.0)).limit(limit)
        return self._database.read(lambda connection: _past(connection, list(connection.scalars(query))))


def _of_one(pipeline: str, partition: str, run_id: str | None) -> Select[tuple[str]]:
    place = snapshots.c
    query = select(place.run_id).where(
        place.pipeline == pipeline, place.partition == partition, place.released_at.is_not(None)
    )
    if run_id is not None:
        query = query.where(place.run_id < run_id)
    return query.order_by(place.run_id.desc())


def _in_series(pipeline: str, partition: str) -> Select[tuple[str]]:
    place = snapshots.c
    return (
        select(func.max(place.run_id))
        .where(place.pipeline == pipeline, place.partition < partition, place.released_at.is_not(None))
        .group_by(place.partition)
        .order_by(place.partition.desc())
    )


def _says(name: str, value: float) -> ColumnElement[bool]:
    """Whether a run's metric has this value; a snapshot has the id of its run."""
    of = run_metrics.c
    return (
        select(of.run_id).where(of.run_id == snapshots.c.run_id, of.name == name, of.value == value).exists()
    )


def _past(connection: Connection, ids: Sequence[str]) -> list[PastRun]:
    metrics: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for row in connection.execute(select(run_metrics).where(run_metrics.c.run_id.in_(ids))):
        metrics[row.run_id][row.name] = row.value
    scores: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    columns = [evaluations.c[name] for name in _SCORES]
    query = select(evaluations.c.run_id, *columns).where(evaluations.c.run_id.in_(ids))
    for found in connection.execute(query).mappings():
        scores[found["run_id"]].append({name: found[name] for name in _SCORES})
    named = select(snapshots.c.run_id, snapshots.c.data_version).where(snapshots.c.run_id.in_(ids))
    versions = {row.run_id: row.data_version for row in connection.execute(named)}
    return [
        PastRun(run_id=i, data_version=versions[i], metrics=metrics[i], scores=tuple(scores[i])) for i in ids
    ]
