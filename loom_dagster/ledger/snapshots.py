"""Snapshots, their verdicts, and which one is released."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, insert, select, update

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.alert_rows import Findings
from loom_dagster.ledger.alerts import tell_of_run
from loom_dagster.ledger.audit import Deed
from loom_dagster.ledger.audit import keep as note
from loom_dagster.ledger.leases import refuse_if_taken
from loom_dagster.ledger.rows import SnapshotRow
from loom_dagster.ledger.runs import OPEN
from loom_dagster.ledger.tables import runs, snapshots

__all__ = ["keep", "list_snapshots", "newest", "release"]


def keep(connection: Connection, row: SnapshotRow) -> None:
    """Register a snapshot. A run that goes on replaces its own, which nobody has released."""
    values = {c.name: getattr(row, c.name) for c in snapshots.c}
    done = connection.execute(update(snapshots).where(snapshots.c.run_id == row.run_id).values(values))
    if not done.rowcount:
        connection.execute(insert(snapshots).values(values))


def newest(
    connection: Connection, pipeline: str, partition: str, *, released: bool = False
) -> SnapshotRow | None:
    """The newest snapshot in the order of runs, or the newest that is released."""
    rows = _rows(
        connection,
        snapshots.c.pipeline == pipeline,
        snapshots.c.partition == partition,
        *([snapshots.c.released_at.is_not(None)] if released else []),
        limit=1,
    )
    return rows[0] if rows else None


def list_snapshots(
    connection: Connection, pipeline: str, partition: str | None = None, *, run_id: str | None = None
) -> list[SnapshotRow]:
    """Newest first; of every partition when none is named."""
    where = [snapshots.c.pipeline == pipeline]
    if partition is not None:
        where.append(snapshots.c.partition == partition)
    if run_id is not None:
        where.append(snapshots.c.run_id == run_id)
    return _rows(connection, *where)


def release(
    connection: Connection, pipeline: str, partition: str, *, who: str, why: str, now: datetime
) -> SnapshotRow:
    """Release the newest snapshot although its verdict held it. A run that would go on has ended with it.

    Raises Misconfigured when there is nothing to release or a run is going on that may replace it.
    """
    held = newest(connection, pipeline, partition)
    of = f"{pipeline}, partition {partition}" if partition else pipeline
    if held is None:
        raise Misconfigured(f"nothing of {of} can be released", why="it has no snapshot", fix="run it first")
    if held.released_at is not None:
        raise Misconfigured(
            f"nothing of {of} is held",
            why=f"its newest snapshot {held.run_id} was released at {held.released_at:%Y-%m-%d %H:%M} UTC "
            f"by {held.released_by}; older ones are superseded",
        )
    refuse_if_taken(connection, pipeline, partition, now)
    connection.execute(
        update(snapshots)
        .where(snapshots.c.run_id == held.run_id)
        .values(released_at=now, released_by=who, why=why)
    )
    connection.execute(
        update(runs).where(runs.c.run_id == held.run_id, runs.c.status.in_(OPEN)).values(status="held")
    )
    held_by = [m["name"] for m in held.outcome.get("monitors", ()) if m["blocking"] and not m["passed"]]
    deed = Deed(
        action="release",
        who=who,
        why=why,
        pipeline=pipeline,
        partition=partition,
        subject=held.run_id,
        detail={
            "verdict": held.verdict_reason,
            "counts": dict(held.counts),
            "data_version": held.data_version,
        },
    )
    note(connection, deed, now)
    over, said = Findings(passed=["quality_gate", "run_deferred", *held_by]), f"released by {who}: {why}"
    tell_of_run(connection, held.run_id, over, recovered=said, now=now)
    return _rows(connection, snapshots.c.run_id == held.run_id)[0]


def _rows(connection: Connection, *where: ColumnElement[bool], limit: int | None = None) -> list[SnapshotRow]:
    query = (
        select(snapshots, runs.c.fingerprint, runs.c.outcome)
        .join(runs, runs.c.run_id == snapshots.c.run_id)
        .where(*where)
        .order_by(snapshots.c.run_id.desc())
        .limit(limit)
    )
    rows = connection.execute(query).mappings()
    return [SnapshotRow(**{**row, "outcome": row["outcome"] or {}}) for row in rows]
