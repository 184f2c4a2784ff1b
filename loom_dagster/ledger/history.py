"""What is known of runs that have ended: their figures, their scores, and the versions they saw first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from loom_dagster.ledger.rows import VersionRow
from loom_dagster.ledger.tables import evaluations, run_metrics, versions

__all__ = ["evaluations_of", "list_versions", "metrics_of"]


def metrics_of(connection: Connection, run_id: str) -> dict[str, float]:
    query = select(run_metrics.c.name, run_metrics.c.value).where(run_metrics.c.run_id == run_id)
    return {row.name: row.value for row in connection.execute(query.order_by(run_metrics.c.name))}


def evaluations_of(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    query = select(evaluations).where(evaluations.c.run_id == run_id).order_by(evaluations.c.name)
    rows = connection.execute(query).mappings()
    return [{k: v for k, v in row.items() if k != "run_id"} for row in rows]


def list_versions(connection: Connection, kind: str | None) -> list[tuple[VersionRow, str]]:
    query = select(versions).order_by(versions.c.first_run_id, versions.c.kind, versions.c.name)
    if kind is not None:
        query = query.where(versions.c.kind == kind)
    return [
        (VersionRow(kind=r.kind, name=r.name, version=r.version, hash=r.hash), r.first_run_id)
        for r in connection.execute(query)
    ]
