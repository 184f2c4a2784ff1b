"""The quarantine index: one row per record that is, or was, in quarantine. The records themselves
lie in the snapshots' files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, select, update

from loom_dagster.ledger.audit import Deed, keep, some
from loom_dagster.ledger.rows import IndexRow, QuarantineEntry
from loom_dagster.ledger.tables import quarantine

__all__ = [
    "any_open",
    "close_older",
    "entries",
    "index",
    "open_runs",
    "resolve",
    "resolve_by_hand",
    "settle_loads",
]

_T = TypeVar("_T")

_SLICE = 1_000  # 12 values a row: SQLite takes 32,766 of them
_REASON = 1_000  # characters; the whole reason is in the snapshot

# Written out, many rows a statement: several times faster than insert constructs, and one message to a server.
_UPSERT = """
INSERT INTO quarantine (pipeline, partition, record_id, run_id, stage, kind, reason, sample, quarantined_at,
                        resolved_at, resolution, resolved_by)
VALUES {rows}
ON CONFLICT (pipeline, partition, record_id) DO UPDATE SET
    run_id = excluded.run_id, stage = excluded.stage, kind = excluded.kind, reason = excluded.reason,
    sample = CASE WHEN excluded.sample > quarantine.sample THEN excluded.sample ELSE quarantine.sample END,
    quarantined_at = excluded.quarantined_at, resolved_at = excluded.resolved_at,
    resolution = excluded.resolution, resolved_by = excluded.resolved_by
"""
_VALUES = f"({', '.join(['{value}'] * 12)})"


def index(
    connection: Connection,
    pipeline: str,
    partition: str,
    run_id: str,
    rows: Iterable[IndexRow],
    *,
    now: datetime,
) -> None:
    """Enter a run's quarantine, each record once; an older entry of the same record gives way, its samples
    still count."""
    at = now.astimezone(UTC).isoformat(timespec="microseconds")
    row_of_values = _VALUES.format(value="?" if connection.dialect.paramstyle == "qmark" else "%s")
    for piece in _slices(rows, _SLICE):
        values: list[str | int | None] = []
        for row in piece:
            settled = (at, row.resolution, "on_failure") if row.resolution else (None, None, None)
            values += (pipeline, partition, _text(row.record_id), run_id, row.stage, row.kind)
            values += (_text(row.reason[:_REASON]), row.sample, at, *settled)
        statement = _UPSERT.format(rows=", ".join([row_of_values] * len(piece)))
        connection.exec_driver_sql(statement, tuple(values))


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
    still_open = [*_of(pipeline, partition), quarantine.c.resolved_at.is_(None)]
    # few are open, and many a run's ids may be
    wanted = set(connection.scalars(select(quarantine.c.record_id).where(*still_open)))
    wanted.intersection_update(map(_text, ids))
    close = update(quarantine).values(resolved_at=now, resolution=resolution, resolved_by=who)
    return sum(
        connection.execute(close.where(*still_open, quarantine.c.record_id.in_(piece))).rowcount
        for piece in _slices(wanted, _SLICE)
    )


def resolve_by_hand(
    connection: Connection,
    pipeline: str,
    partition: str | None,
    ids: Iterable[str],
    *,
    resolution: str,
    who: str,
    now: datetime,
) -> int:
    """``resolve``, by a person's word, which is kept."""
    asked = list(ids)
    number = resolve(connection, pipeline, partition, asked, resolution=resolution, who=who, now=now)
    if number:
        detail = {"resolved": number, **some(asked)}
        deed = Deed(action="resolve", who=who, why=resolution, pipeline=pipeline, detail=detail)
        keep(connection, replace(deed, partition=partition or ""), now)
    return number


def close_older(connection: Connection, pipeline: str, partition: str, run_id: str, now: datetime) -> None:
    """Close what is still open from before ``run_id``, which has seen every record there is."""
    connection.execute(
        update(quarantine)
        .where(*_of(pipeline, partition), quarantine.c.resolved_at.is_(None), quarantine.c.run_id != run_id)
        .values(resolved_at=now, resolution=f"gone from the source in run {run_id}", resolved_by="run")
    )


def settle_loads(
    connection: Connection,
    pipeline: str,
    partition: str,
    run_id: str,
    refused: AbstractSet[str],
    now: datetime,
) -> None:
    """Close the entries of rows of ``run_id`` that its destination had refused and now took."""
    where = [*_of(pipeline, partition), quarantine.c.resolved_at.is_(None), quarantine.c.stage == "load"]
    query = select(quarantine.c.record_id).where(*where, quarantine.c.run_id == run_id)
    taken = [i for i in connection.scalars(query).all() if i not in refused]
    resolve(
        connection, pipeline, partition, taken, resolution=f"loaded from run {run_id}", who="load", now=now
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
    for piece in _slices(map(_text, ids), _SLICE):
        rows = connection.execute(query.where(quarantine.c.record_id.in_(piece))).mappings()
        found += [QuarantineEntry(**row) for row in rows]
    return found


def _of(pipeline: str, partition: str | None) -> list[ColumnElement[bool]]:
    """Scratch partitions (``~...``) take no part unless they are named."""
    if partition is None:
        return [quarantine.c.pipeline == pipeline, quarantine.c.partition.not_like("~%")]
    return [quarantine.c.pipeline == pipeline, quarantine.c.partition == partition]


def _text(text: str) -> str:
    """Postgres keeps no NUL."""
    return text.replace("\0", "\\u0000")


def _slices(rows: Iterable[_T], size: int) -> Iterator[list[_T]]:
    rest = iter(rows)
    while piece := list(islice(rest, size)):
        yield piece
