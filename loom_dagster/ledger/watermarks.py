"""How far each pipeline has come with its source. Moved by a load, or by a person, and by nothing else."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.rows import SnapshotRow, WatermarkRow
from loom_dagster.ledger.tables import snapshots, watermarks
from loom_dagster.watermark import Watermark

__all__ = ["advance", "read", "reset", "write"]


def read(connection: Connection, pipeline: str, partition: str) -> WatermarkRow | None:
    """Raises Misconfigured (kind ``ledger``) for one that cannot be read."""
    row = connection.execute(select(watermarks).where(*_slot(pipeline, partition))).one_or_none()
    if row is None:
        return None
    try:
        known = Watermark.from_dict(row.watermark)
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise Misconfigured(
            f"the watermark of {pipeline} cannot be read",
            why=f"{type(error).__name__}: {error}",
            fix=f"set it anew: loom state set {pipeline} VALUE",
            kind="ledger",
        ) from error
    return WatermarkRow(watermark=known, moved_at=row.moved_at, moved_by=row.moved_by)


def write(
    connection: Connection, pipeline: str, partition: str, watermark: Watermark, *, by: str, now: datetime
) -> None:
    values = {"watermark": watermark.as_dict(), "moved_at": now, "moved_by": by}
    done = connection.execute(update(watermarks).where(*_slot(pipeline, partition)).values(values))
    if not done.rowcount:
        connection.execute(insert(watermarks).values(pipeline=pipeline, partition=partition, **values))


def reset(connection: Connection, pipeline: str, partition: str) -> bool:
    """Forget it; whether there was one."""
    return bool(connection.execute(delete(watermarks).where(*_slot(pipeline, partition))).rowcount)


def advance(connection: Connection, row: SnapshotRow, now: datetime) -> None:
    """The snapshot is loaded: the pipeline has come as far as it reached, and never goes back by an increment."""
    connection.execute(update(snapshots).where(snapshots.c.run_id == row.run_id).values(loaded_at=now))
    if row.watermark is None:
        return
    reached = Watermark.from_dict(row.watermark)
    known = read(connection, row.pipeline, row.partition) if row.increment else None
    if known is not None:
        reached = known.watermark.joined(reached)
    write(connection, row.pipeline, row.partition, reached, by=row.run_id, now=now)


def _slot(pipeline: str, partition: str) -> tuple[ColumnElement[bool], ...]:
    return watermarks.c.pipeline == pipeline, watermarks.c.partition == partition
