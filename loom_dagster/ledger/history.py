"""The runs of a pipeline before one: what later ones are compared with."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from loom_dagster.ledger.rows import PastRun
from loom_dagster.ledger.tables import evaluations, run_metrics, snapshots

__all__ = ["list_history"]

_SCORES = ("name", "type", "passed", "failed", "errors", "mean", "std")


def list_history(
    connection: Connection,
    pipeline: str,
    partition: str,
    before: str,
    *,
    simulated: bool,
    series: bool,
    limit: int,
) -> list[PastRun]:
    """Newest first. See Ledger.history."""
    ids = _released(connection, pipeline, partition, before, simulated=simulated, series=series, limit=limit)
    metrics: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for row in connection.execute(select(run_metrics).where(run_metrics.c.run_id.in_(ids))):
        metrics[row.run_id][row.name] = row.value
    scores: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    columns = [evaluations.c[name] for name in _SCORES]
    query = select(evaluations.c.run_id, *columns).where(evaluations.c.run_id.in_(ids))
    for found in connection.execute(query).mappings():
        scores[found["run_id"]].append({name: found[name] for name in _SCORES})
    return [PastRun(run_id=i, metrics=metrics[i], scores=tuple(scores[i])) for i in ids]


def _released(
    connection: Connection,
    pipeline: str,
    partition: str,
    before: str,
    *,
    simulated: bool,
    series: bool,
    limit: int,
) -> list[str]:
    """The ids of snapshots are those of their runs, and there is an index on them."""
    place = snapshots.c
    fit = [
        place.pipeline == pipeline,
        place.released_at.is_not(None),
        _says("simulated", float(simulated)),
        _says("tried_again", 0.0),
    ]
    if series:
        query = (
            select(func.max(place.run_id).label("run_id"))
            .where(*fit, place.partition < partition)
            .group_by(place.partition)
            .order_by(place.partition.desc())
        )
    else:
        query = (
            select(place.run_id)
            .where(*fit, place.partition == partition, place.run_id < before)
            .order_by(place.run_id.desc())
        )
    return list(connection.scalars(query.limit(limit)))


def _says(name: str, value: float) -> ColumnElement[bool]:
    """Whether a run's metric has this value."""
    of = run_metrics.c
    return (
        select(of.run_id)
        .where(of.run_id == snapshots.c.run_id, of.name == name, of.value == value)
        .exists()
    )
