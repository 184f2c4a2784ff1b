"""A window over rows that no database can choose for us."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from loom_dagster.connectors.contract import Chunk, Scalar, Window
from loom_dagster.errors import Misconfigured

__all__ = ["inside"]


def inside(chunk: Chunk, window: Window) -> Chunk:
    """The rows of a chunk within the window, and all of its unreadable ones. Raises Misconfigured when the
    column cannot be compared with the window's bounds."""
    column = chunk.table.column(window.column)
    mask = pa.array([True] * len(column), pa.bool_())
    for bound, within in ((window.start, pc.greater_equal), (window.end, pc.less)):
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


def _fitting(bound: Scalar, kind: pa.DataType, name: str) -> pa.Scalar:
    if isinstance(bound, datetime) and pa.types.is_timestamp(kind) and kind.tz is None:
        bound = bound.replace(tzinfo=None)  # a naive column is compared with the same digits
    if isinstance(bound, date) and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        bound = bound.isoformat()
    try:
        return pa.scalar(bound, type=kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise Misconfigured(
            f"column `{name}` is {kind} and cannot be compared with {bound!r}",
            fix="convert it in the source, or reset the watermark: loom state reset PIPELINE",
        ) from error
