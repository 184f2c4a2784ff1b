"""Runs: begun or continued, finished in the transaction of everything that came of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from loom_dagster.ledger.kept import keep_texts
from loom_dagster.ledger.rows import RunRow, VersionRow
from loom_dagster.ledger.tables import evaluations, run_metrics, runs, versions
from loom_dagster.records import digest

__all__ = [
    "OPEN",
    "STATUSES",
    "TESTS",
    "begin",
    "evaluations_of",
    "finish",
    "list_runs",
    "list_versions",
    "metrics_of",
    "new_id",
    "open_run",
    "runs",
]

TESTS = "~test"  # the partition under which tests spend

OPEN = ("running", "deferred", "interrupted")
STATUSES = ("succeeded", "held", "failed", "superseded", "deferred", "interrupted")


def open_run(connection: Connection, pipeline: str, partition: str) -> Row[Any] | None:
    """The run of a slot that has not ended; there is one at most."""
    return connection.execute(
        select(runs)
        .where(runs.c.pipeline == pipeline, runs.c.partition == partition, runs.c.status.in_(OPEN))
        .order_by(runs.c.run_id.desc())
    ).first()


def begin(
    connection: Connection,
    pipeline: str,
    partition: str,
    fingerprint: str,
    *,
    version: str | None,
    fresh: bool,
    dagster_run_id: str | None,
    now: datetime,
    luck: float,
) -> tuple[str, datetime, bool, int]:
    """Run id, start, whether an open run is continued, and its allowance. Any other open run is superseded."""
    unfinished = open_run(connection, pipeline, partition)
    if unfinished is not None and unfinished.fingerprint == fingerprint and not fresh:
        connection.execute(
            update(runs)
            .where(runs.c.run_id == unfinished.run_id)
            .values(
                status="running",
                resumes=runs.c.resumes + 1,
                dagster_run_id=dagster_run_id or unfinished.dagster_run_id,
                finished_at=None,
            )
        )
        return unfinished.run_id, unfinished.started_at, True, unfinished.allowance
    connection.execute(
        update(runs)
        .where(runs.c.pipeline == pipeline, runs.c.partition == partition, runs.c.status.in_(OPEN))
        .values(status="superseded", finished_at=now)
    )
    run_id = new_id(connection, pipeline, partition, now, luck)
    connection.execute(
        insert(runs).values(
            run_id=run_id,
            pipeline=pipeline,
            partition=partition,
            fingerprint=fingerprint,
            version=version,
            status="running",
            started_at=now,
            resumes=0,
            dagster_run_id=dagster_run_id,
            allowance=0,
        )
    )
    return run_id, now, False, 0


def finish(
    connection: Connection,
    run_id: str,
    status: str,
    *,
    outcome: Mapping[str, Any],
    metrics: Mapping[str, float],
    scores: Iterable[Mapping[str, Any]],
    seen: Iterable[VersionRow],
    now: datetime,
    budget_used_up: bool,
) -> None:
    """Keep what is known of a run; what an earlier attempt at it left is replaced."""
    connection.execute(
        update(runs)
        .where(runs.c.run_id == run_id)
        .values(
            status=status,
            finished_at=now,
            outcome=dict(outcome),
            allowance=runs.c.allowance + int(budget_used_up),
        )
    )
    for table in (run_metrics, evaluations):
        connection.execute(delete(table).where(table.c.run_id == run_id))
    if metrics:
        rows = [{"run_id": run_id, "name": k, "value": v} for k, v in metrics.items()]
        connection.execute(insert(run_metrics), rows)
    if scored := [{**score, "run_id": run_id} for score in scores]:
        connection.execute(insert(evaluations), scored)
    seen = list(seen)
    keep_texts(connection, seen)
    for version in seen:
        place = versions.c
        known = select(place.kind).where(
            place.kind == version.kind,
            place.name == version.name,
            place.version == version.version,
            place.hash == version.hash,
        )
        if connection.execute(known).first() is None:
            connection.execute(
                insert(versions).values(
                    kind=version.kind,
                    name=version.name,
                    version=version.version,
                    hash=version.hash,
                    first_run_id=run_id,
                )
            )


def list_runs(
    connection: Connection,
    *,
    pipeline: str | None = None,
    run_id: str | None = None,
    limit: int | None = None,
) -> list[RunRow]:
    """Newest first, but for what tests spent."""
    query = select(runs).order_by(runs.c.run_id.desc()).limit(limit)
    if pipeline is not None:
        query = query.where(runs.c.pipeline == pipeline)
    if run_id is not None:
        query = query.where(runs.c.run_id == run_id)
    else:
        query = query.where(runs.c.partition != TESTS)
    return [RunRow(**row) for row in connection.execute(query).mappings()]


def list_versions(connection: Connection, kind: str | None) -> list[tuple[VersionRow, str]]:
    """Every version seen and the run that saw it first, oldest first."""
    query = select(versions).order_by(versions.c.first_run_id, versions.c.kind, versions.c.name)
    if kind is not None:
        query = query.where(versions.c.kind == kind)
    return [
        (VersionRow(kind=r.kind, name=r.name, version=r.version, hash=r.hash), r.first_run_id)
        for r in connection.execute(query)
    ]


def metrics_of(connection: Connection, run_id: str) -> dict[str, float]:
    query = select(run_metrics.c.name, run_metrics.c.value).where(run_metrics.c.run_id == run_id)
    return {row.name: row.value for row in connection.execute(query.order_by(run_metrics.c.name))}


def evaluations_of(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    query = select(evaluations).where(evaluations.c.run_id == run_id).order_by(evaluations.c.name)
    rows = connection.execute(query).mappings()
    return [{k: v for k, v in row.items() if k != "run_id"} for row in rows]


def new_id(connection: Connection, pipeline: str, partition: str, now: datetime, luck: float) -> str:
    """Sorts after every id of its slot, also when the clock was set back."""
    suffix = digest(pipeline, partition, luck)[:3].hex()
    newest = connection.scalar(
        select(runs.c.run_id)
        .where(runs.c.pipeline == pipeline, runs.c.partition == partition)
        .order_by(runs.c.run_id.desc())
        .limit(1)
    )
    if newest is not None:
        last = datetime.strptime(newest[:15], "%Y%m%dT%H%M%S").replace(tzinfo=now.tzinfo)
        now = max(now, last + timedelta(seconds=1))
    while True:
        run_id = f"{now:%Y%m%dT%H%M%S}-{suffix}"
        if connection.execute(select(runs.c.run_id).where(runs.c.run_id == run_id)).first() is None:
            return run_id
        now += timedelta(seconds=1)
