"""How far each pipeline has come with its source. Moved by a load, or by a person, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from loom_dagster.clock import Clock
from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.audit import Deed, keep
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.leases import refuse_if_taken
from loom_dagster.ledger.rows import SnapshotRow, WatermarkRow
from loom_dagster.ledger.tables import snapshots, watermarks
from loom_dagster.watermark import Watermark

__all__ = ["Watermarks", "advance"]


class Watermarks:
    """Of every pipeline and partition."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def get(self, pipeline: str, partition: str = "") -> WatermarkRow | None:
        """None before the first load. Raises Misconfigured (kind ``ledger``) for one that cannot be read."""
        return self._database.read(lambda connection: _read(connection, pipeline, partition))

    def set(
        self,
        pipeline: str,
        watermark: Watermark,
        *,
        who: str,
        why: str = "",
        partition: str = "",
        at: datetime | None = None,
    ) -> None:
        """By a person's word, which is kept, unless it is how far a table is brought up to date (``~...``). Raises Misconfigured (kind ``lease``) while a run is going on."""
        now = self._clock.now()

        def work(connection: Connection) -> None:
            refuse_if_taken(connection, pipeline, partition, now)
            if not partition.startswith("~"):
                deed = Deed(action="state_set", who=who, why=why, pipeline=pipeline, partition=partition)
                was = _read(connection, pipeline, partition, broken_is_none=True)
                change = {"from": _shown(was.watermark if was else None), "to": _shown(watermark)}
                keep(connection, replace(deed, detail=change), now)
            _write(connection, pipeline, partition, watermark, by=who, now=at or now)

        self._database.write(work)

    def reset(self, pipeline: str, partition: str = "", *, who: str, why: str = "") -> bool:
        """The next run reads everything; whether there was a watermark. Raises like ``set``."""
        now = self._clock.now()

        def work(connection: Connection) -> bool:
            refuse_if_taken(connection, pipeline, partition, now)
            known = _read(connection, pipeline, partition, broken_is_none=True)
            was = bool(connection.execute(delete(watermarks).where(*_slot(pipeline, partition))).rowcount)
            if was:
                detail = {"from": _shown(known.watermark if known else None)}
                deed = Deed(action="state_reset", who=who, why=why, pipeline=pipeline, partition=partition)
                keep(connection, replace(deed, detail=detail), now)
            return was

        return self._database.write(work)


def advance(connection: Connection, row: SnapshotRow, now: datetime) -> None:
    """The snapshot is loaded: the pipeline has come as far as it reached, and never goes back by an increment."""
    connection.execute(update(snapshots).where(snapshots.c.run_id == row.run_id).values(loaded_at=now))
    if row.watermark is None:
        return
    reached = Watermark.from_dict(row.watermark)
    known = _read(connection, row.pipeline, row.partition) if row.increment else None
    if known is not None:
        reached = known.watermark.joined(reached)
    _write(connection, row.pipeline, row.partition, reached, by=row.run_id, now=now)


def _read(
    connection: Connection, pipeline: str, partition: str, *, broken_is_none: bool = False
) -> WatermarkRow | None:
    row = connection.execute(select(watermarks).where(*_slot(pipeline, partition))).one_or_none()
    if row is None:
        return None
    try:
        known = Watermark.from_dict(row.watermark)
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        if broken_is_none:
            return None
        raise Misconfigured(
            f"the watermark of {pipeline} cannot be read",
            why=f"{type(error).__name__}: {error}",
            fix=f"set it anew: loom state set {pipeline} VALUE",
            kind="ledger",
        ) from error
    return WatermarkRow(watermark=known, moved_at=row.moved_at, moved_by=row.moved_by)


def _write(
    connection: Connection, pipeline: str, partition: str, watermark: Watermark, *, by: str, now: datetime
) -> None:
    values = {"watermark": watermark.as_dict(), "moved_at": now, "moved_by": by}
    done = connection.execute(update(watermarks).where(*_slot(pipeline, partition)).values(values))
    if not done.rowcount:
        connection.execute(insert(watermarks).values(pipeline=pipeline, partition=partition, **values))


def _shown(watermark: Watermark | None) -> dict[str, object] | None:
    """For the audit: of files their number only."""
    if watermark is None:
        return None
    return {"cursor": watermark.cursor, "files": len(watermark.files)}


def _slot(pipeline: str, partition: str) -> tuple[ColumnElement[bool], ...]:
    return watermarks.c.pipeline == pipeline, watermarks.c.partition == partition
