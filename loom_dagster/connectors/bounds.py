"""The bounds of a window in the type of the column that they are compared with."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time

import pyarrow as pa

from loom_dagster.connectors.contract import Scalar, Window
from loom_dagster.errors import Misconfigured

__all__ = ["fitted", "is_text"]


def fitted(window: Window, kind: pa.DataType) -> Window:
    """The window for a column of a database. Raises Misconfigured when its one value cannot be in the column."""
    equal = window.equal
    if isinstance(equal, str) and not is_text(kind):
        try:
            equal = pa.scalar(equal).cast(kind).as_py()
        except pa.ArrowException as error:
            raise Misconfigured(
                f"column `{window.column}` is {kind} and never holds {equal!r}",
                fix="see `extract.partitions`",
            ) from error
    return replace(window, start=_fitted(window.start, kind), end=_fitted(window.end, kind), equal=equal)


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _fitted(bound: Scalar, kind: pa.DataType) -> Scalar:
    if not isinstance(bound, datetime) or bound.tzinfo is None:
        return bound
    shown = bound.replace(tzinfo=None)  # what clocks show there
    if pa.types.is_timestamp(kind) and kind.tz is None:
        return shown
    if pa.types.is_date(kind):
        return shown.date()
    if is_text(kind):  # a day without a time is before all times of it, however they are written
        return shown.date().isoformat() if shown.time() == time.min else shown.isoformat(" ")
    return bound
