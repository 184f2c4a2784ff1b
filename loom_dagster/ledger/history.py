"""What the runs of a project came to, for people who look back: a few queries, however many pipelines and runs.

A run's outcome is never read here: it holds samples of records and is by far the largest thing in the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, case, func, or_, select

from loom_dagster.clock import Clock
from loom_dagster.ledger.alert_tables import alerts
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.leases import alive
from loom_dagster.ledger.rows import PipelineTotals, RunNumbers, Standing
from loom_dagster.ledger.spend import UNIT
from loom_dagster.ledger.tables import evaluations, quarantine, run_metrics, runs, snapshots, spend

__all__ = ["History"]

_ENDED = ("succeeded", "held", "failed", "superseded")
_OF_RUN = ("run_id", "pipeline", "partition", "version", "status", "started_at", "finished_at")
_OF_SNAPSHOT = ("pass_rate", "released_at", "released_by")
_OF_SCORE = ("name", "type", "threshold", "passed", "failed", "errors", "mean", "std")
_RECORDS = ("extracted", "passed", "quarantined")
_CALLS = ("calls", "reused", "input_tokens", "output_tokens")
_Again = run_metrics.alias()


class History:
    """Of every pipeline. Partitions that begin with ~ are scratch, and are left out unless they are asked for."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def runs(
        self,
        pipeline: str | None = None,
        *,
        partition: str | None = None,
        since: datetime | None = None,
        until: str | None = None,
        limit: int | None = None,
        trials: bool = False,
    ) -> list[RunNumbers]:
        """Newest first, with metrics and scores. ``until``: the id of the newest run that is wanted."""
        where = [] if trials else [_real(runs)]
        where += [] if pipeline is None else [runs.c.pipeline == pipeline]
        where += [] if partition is None else [runs.c.partition == partition]
        where += [] if since is None else [runs.c.started_at >= since]
        where += [] if until is None else [runs.c.run_id <= until]
        wanted = select(runs.c.run_id).where(*where).order_by(runs.c.run_id.desc()).limit(limit)
        return self._database.read(lambda c: _numbers(c, wanted))

    def newest(self, each: int, *, numbers: bool = False) -> dict[str, list[RunNumbers]]:
        """The newest runs of every pipeline, newest first, ``each`` of them at most; with their ``numbers``, or
        only what became of them."""
        place = func.row_number().over(partition_by=runs.c.pipeline, order_by=runs.c.run_id.desc())
        ranked = select(runs.c.run_id, place.label("place")).where(_real(runs)).subquery()
        wanted = select(ranked.c.run_id).where(ranked.c.place <= each)
        found: defaultdict[str, list[RunNumbers]] = defaultdict(list)
        for row in self._database.read(lambda c: _numbers(c, wanted, whole=numbers)):
            found[row.pipeline].append(row)
        return dict(found)

    def standing(self) -> Standing:
        """What waits for people and what was spent, of every pipeline, now."""
        now = self._clock.now()
        day = f"{now:%Y-%m-%d}"

        def work(connection: Connection) -> Standing:
            waiting = quarantine.c.resolved_at.is_(None)
            is_open = and_(alerts.c.event == "failed", alerts.c.resolved_at.is_(None))
            return Standing(
                quarantined=_per_pipeline(connection, quarantine, waiting, _real(quarantine)),
                alerts=_per_pipeline(connection, alerts, is_open),
                held=_held(connection),
                running=frozenset(alive(connection, now)),
                today=_spent(connection, spend.c.day == day),
                month=_spent(connection, spend.c.day.between(f"{day[:7]}-01", f"{day[:7]}-31")),
            )

        return self._database.read(work)

    def totals(self) -> list[PipelineTotals]:
        """What each pipeline has done since its first run, trials aside: of runs that have ended, and all money."""
        return self._database.read(_totals)


def _real(table: FromClause) -> ColumnElement[bool]:
    real: ColumnElement[bool] = table.c.partition.not_like("~%")
    return real


def _numbers(connection: Connection, wanted: Select[tuple[str]], *, whole: bool = True) -> list[RunNumbers]:
    """The wanted runs, newest first."""
    ids = wanted.subquery()
    columns = [runs.c[name] for name in _OF_RUN] + [snapshots.c[name] for name in _OF_SNAPSHOT]
    query = select(*columns).join(ids, ids.c.run_id == runs.c.run_id)
    query = query.outerjoin(snapshots, snapshots.c.run_id == runs.c.run_id).order_by(runs.c.run_id.desc())
    rows = connection.execute(query).mappings().all()
    metrics: defaultdict[str, dict[str, float]] = defaultdict(dict)
    scores: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    if whole:
        measured = select(run_metrics).join(ids, ids.c.run_id == run_metrics.c.run_id)
        for found in connection.execute(measured):
            metrics[found.run_id][found.name] = found.value
        scored = select(evaluations.c.run_id, *(evaluations.c[name] for name in _OF_SCORE))
        scored = scored.join(ids, ids.c.run_id == evaluations.c.run_id).order_by(evaluations.c.name)
        for score in connection.execute(scored).mappings():
            scores[score["run_id"]].append({name: score[name] for name in _OF_SCORE})
    return [
        RunNumbers(**row, metrics=metrics[row["run_id"]], scores=tuple(scores[row["run_id"]])) for row in rows
    ]


def _per_pipeline(connection: Connection, table: FromClause, *where: ColumnElement[bool]) -> dict[str, int]:
    query = select(table.c.pipeline, func.count()).where(*where).group_by(table.c.pipeline)
    return {row[0]: row[1] for row in connection.execute(query)}


def _held(connection: Connection) -> dict[str, list[str]]:
    """The partitions whose newest batch waits for a person, by pipeline."""
    newest = select(func.max(snapshots.c.run_id).label("run_id")).where(_real(snapshots))
    newest_ids = newest.group_by(snapshots.c.pipeline, snapshots.c.partition).subquery()
    query = (
        select(snapshots.c.pipeline, snapshots.c.partition)
        .join(newest_ids, newest_ids.c.run_id == snapshots.c.run_id)
        .join(runs, runs.c.run_id == snapshots.c.run_id)
        .where(snapshots.c.released_at.is_(None), runs.c.status == "held")
        .order_by(snapshots.c.partition)
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for pipeline, partition in connection.execute(query):
        found[pipeline].append(partition)
    return dict(found)


def _spent(connection: Connection, when: ColumnElement[bool]) -> dict[str, float]:
    """In USD, by pipeline, trials too: what may have been paid counts."""
    total = func.sum(spend.c.spent + spend.c.unconfirmed)
    query = select(spend.c.pipeline, total).where(when).group_by(spend.c.pipeline)
    return {pipeline: float(amount) * UNIT for pipeline, amount in connection.execute(query)}


def _totals(connection: Connection) -> list[PipelineTotals]:
    ended = and_(_real(runs), runs.c.status.in_(_ENDED))
    statuses = select(runs.c.pipeline, runs.c.status, func.count()).where(ended)
    by_status = _nested(connection.execute(statuses.group_by(runs.c.pipeline, runs.c.status)))
    counted = select(runs.c.pipeline, run_metrics.c.name, func.sum(run_metrics.c.value))
    counted = counted.join(run_metrics, run_metrics.c.run_id == runs.c.run_id)
    # records that were tried again were counted by the run that read them; what was asked for them counts
    again = select(_Again.c.run_id).where(_Again.c.name == "tried_again", _Again.c.value == 1.0)
    mine = or_(run_metrics.c.name.not_in(_RECORDS), runs.c.run_id.not_in(again))
    counted = counted.where(ended, run_metrics.c.name.in_((*_RECORDS, *_CALLS)), mine)
    sums = _nested(connection.execute(counted.group_by(runs.c.pipeline, run_metrics.c.name)))
    paid = select(runs.c.pipeline, func.sum(spend.c.spent), func.sum(spend.c.unconfirmed))
    paid = paid.join(spend, spend.c.run_id == runs.c.run_id).where(_real(runs)).group_by(runs.c.pipeline)
    money = {
        name: (float(sure) * UNIT, float(perhaps) * UNIT) for name, sure, perhaps in connection.execute(paid)
    }
    good = case((snapshots.c.released_at.is_not(None), runs.c.finished_at))
    last = select(runs.c.pipeline, func.max(good)).where(_real(runs)).group_by(runs.c.pipeline)
    last = last.join(snapshots, snapshots.c.run_id == runs.c.run_id)
    released: dict[str, datetime | None] = {row[0]: row[1] for row in connection.execute(last)}
    return [
        PipelineTotals(
            pipeline=name,
            runs=by_status.get(name, {}),
            sums=sums.get(name, {}),
            spent=money.get(name, (0.0, 0.0))[0],
            unconfirmed=money.get(name, (0.0, 0.0))[1],
            released_at=released.get(name),
        )
        for name in sorted({*by_status, *sums, *money, *released})
    ]


def _nested(rows: Iterable[Sequence[Any]]) -> dict[str, dict[str, Any]]:
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for outer, inner, value in rows:
        found[outer][inner] = value
    return dict(found)
