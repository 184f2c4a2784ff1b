"""The quarantine index: one row per record that is, or was, in quarantine. The records themselves
lie in the snapshots' files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, bindparam, select, update

from loom_dagster.ledger.rows import IndexRow, QuarantineEntry
from loom_dagster.ledger.tables import quarantine

__all__ = ["any_open", "close_older", "entries", "index", "open_runs", "resolve"]

_T = TypeVar("_T")

_SLICE = 5_000
_REASON = 1_000  # characters; the whole reason is in the snapshot

# Written out because executing it as it stands is several times faster than an insert construct.
_UPSERT = """
INSERT INTO quarantine (pipeline, partition, record_id, run_id, stage, kind, reason, sample, quarantined_at,
                        resolved_at, resolution, resolved_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (pipeline, partition, record_id) DO UPDATE SET
    run_id = excluded.run_id, stage = excluded.stage, kind = excluded.kind, reason = excluded.reason,
    sample = CASE WHEN excluded.sample > quarantine.sample THEN excluded.sample ELSE quarantine.sample END,
    quarantined_at = excluded.quarantined_at, resolved_at = excluded.resolved_at,
    resolution = excluded.resolution, resolved_by = excluded.resolved_by
"""


def index(
    connection: Connection,
    pipeline: str,
    partition: str,
    run_id: str,
    rows: Iterable[IndexRow],
    *,
    now: datetime,
) -> None:
    """Enter a run's quarantine; an older entry of the same record gives way, its samples still count."""
    at = now.astimezone(UTC).isoformat(timespec="microseconds")
    for piece in _slices(rows):
        connection.exec_driver_sql(
            _UPSERT,
            [
                (
                    pipeline,
                    partition,
                    row.record_id,
                    run_id,
                    row.stage,
                    row.kind,
                    row.reason[:_REASON],
                    row.sample,
                    at,
                    at if row.resolution else None,
                    row.resolution,
                    "on_failure" if row.resolution else None,
                )
                for row in piece
            ],
        )


def resolve(
    connection: Connection,
    pipeline: str,
    partition: str | None,
    ids: Iterable[str],
    *,
    resolution: str,
    who: str,
    now: datetime,
) -> int:
    """Close the open entries of ``ids``; gives how many there were."""
    where = [*_of(pipeline, partition), quarantine.c.resolved_at.is_(None)]
    query = (
        update(quarantine)
        .where(*where, quarantine.c.record_id == bindparam("wanted"))
        .values(resolved_at=now, resolution=resolution, resolved_by=who)
    )
    pieces = ([{"wanted": record_id} for record_id in piece] for piece in _slices(ids))
    return sum(connection.execute(query, piece).rowcount for piece in pieces)


def close_older(connection: Connection, pipeline: str, partition: str, run_id: str, now: datetime) -> None:
    """Close what is still open from before ``run_id``, which has seen every record there is."""
    connection.execute(
        update(quarantine)
        .where(*_of(pipeline, partition), quarantine.c.resolved_at.is_(None), quarantine.c.run_id != run_id)
        .values(resolved_at=now, resolution=f"gone from the source in run {run_id}", resolved_by="run")
    )


def any_open(connection: Connection, pipeline: str, partition: str) -> bool:
    """Whether a record waits there for somebody or something."""
    query = select(quarantine.c.record_id).where(
        *_of(pipeline, partition), quarantine.c.resolved_at.is_(None)
    )
    return connection.execute(query.limit(1)).first() is not None


def open_runs(connection: Connection, pipeline: str, partition: str) -> set[str]:
    """The runs whose snapshots hold a record that waits."""
    query = select(quarantine.c.run_id).where(*_of(pipeline, partition), quarantine.c.resolved_at.is_(None))
    return set(connection.scalars(query.distinct()))


def entries(
    connection: Connection,
    pipeline: str,
    partition: str | None = None,
    *,
    ids: Sequence[str] | None = None,
    unresolved: bool = False,
) -> list[QuarantineEntry]:
    """Of every partition when none is named, newest run first. ``ids`` None: all."""
    query = select(quarantine).where(*_of(pipeline, partition))
    query = query.order_by(quarantine.c.run_id.desc(), quarantine.c.record_id)
    if unresolved:
        query = query.where(quarantine.c.resolved_at.is_(None))
    if ids is None:
        return [QuarantineEntry(**row) for row in connection.execute(query).mappings()]
    found: list[QuarantineEntry] = []
    for piece in _slices(ids, 500):
        rows = connection.execute(query.where(quarantine.c.record_id.in_(piece))).mappings()
        found += [QuarantineEntry(**row) for row in rows]
    return found


def _of(pipeline: str, partition: str | None) -> list[ColumnElement[bool]]:
    """Scratch partitions (``~...``) take no part unless they are named."""
    if partition is None:
        return [quarantine.c.pipeline == pipeline, quarantine.c.partition.not_like("~%")]
    return [quarantine.c.pipeline == pipeline, quarantine.c.partition == partition]


def _slices(rows: Iterable[_T], size: int = _SLICE) -> Iterator[list[_T]]:
    rest = iter(rows)
    while piece := list(islice(rest, size)):
        yield piece
