"""A window over rows that no database can choose for us."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, tzinfo

import pyarrow as pa
import pyarrow.compute as pc

from loom_dagster.connectors.bounds import is_text
from loom_dagster.connectors.contract import Chunk, Scalar, Window
from loom_dagster.errors import Misconfigured

__all__ = ["inside"]


def inside(chunk: Chunk, window: Window) -> Chunk:
    """The rows of a chunk within the window, and all of its unreadable ones. Raises Misconfigured when the
    column cannot be compared with the window's bounds."""
    column = chunk.table.column(window.column)
    if is_text(column.type) and (zone := _zone(window)) is not None:
        column = _moments(column, window.column, zone)
    mask = pa.array([True] * len(column), pa.bool_())
    bounds = ((window.start, pc.greater_equal), (window.end, pc.less), (window.equal, pc.equal))
    for bound, within in bounds:
        if bound is not None:
            mask = pc.and_(
                mask, pc.fill_null(within(column, _fitting(bound, column.type, window.column)), False)
            )
    kept = mask.to_pylist()
    skipped = {row.offset for row in chunk.unreadable}
    places = iter([offset for offset in range(chunk.rows) if offset not in skipped])
    left = [next(places) for _ in kept]
    taken = sorted([place for place, keep in zip(left, kept, strict=True) if keep] + list(skipped))
    offsets = {place: number for number, place in enumerate(taken)}
    unreadable = [replace(row, offset=offsets[row.offset]) for row in chunk.unreadable]
    return Chunk(table=chunk.table.filter(mask), unreadable=unreadable)


def _zone(window: Window) -> tzinfo | None:
    """Of a window between two times: that of a partition."""
    both = isinstance(window.start, datetime) and isinstance(window.end, datetime)
    return window.end.tzinfo if both and isinstance(window.end, datetime) else None


def _moments(column: pa.Array, name: str, zone: tzinfo) -> pa.Array:
    """Texts as times: however they are written, they are compared as what they mean. Without a zone, in ``zone``."""
    found: list[datetime | None] = []
    for text in column.to_pylist():
        try:
            moment = None if text is None or not text.strip() else datetime.fromisoformat(text.strip())
        except ValueError as error:
            raise Misconfigured(
                f"column `{name}` holds {text[:40]!r}, which is no time, so it is in no partition",
                fix="write times like 2026-01-31T12:00:00Z, or name another `extract.partitions.column`",
            ) from error
        found.append(moment if moment is None or moment.tzinfo else moment.replace(tzinfo=zone))
    return pa.array(found, pa.timestamp("us", tz="UTC"))


def _fitting(bound: Scalar, kind: pa.DataType, name: str) -> pa.Scalar:
    if isinstance(bound, datetime) and pa.types.is_timestamp(kind) and kind.tz is None:
        bound = bound.replace(tzinfo=None)  # a naive column is compared with the same digits
    if isinstance(bound, datetime) and pa.types.is_date(kind):
        bound = bound.date()
    if isinstance(bound, date) and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        bound = bound.isoformat()
    try:
        if isinstance(bound, str) and not is_text(kind):
            return pa.scalar(bound).cast(kind)
        return pa.scalar(bound, type=kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise Misconfigured(
            f"column `{name}` is {kind} and cannot be compared with {bound!r}",
            fix="convert it in the source; of an incremental one, loom state reset PIPELINE forgets the watermark",
        ) from error
