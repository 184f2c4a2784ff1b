"""Arrow values as plain Python, and Arrow types without their storage tricks.

A dictionary column is a text column that was packed; a nanosecond is finer than Python's clock
and would drag pandas in. Both are settled here, once.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["conformed", "plain_columns", "plain_rows", "unpacked"]


def unpacked(kind: pa.DataType) -> pa.DataType:
    """``kind`` with dictionaries, run-end encoding and views resolved, nested ones too."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return unpacked(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    return _inside(kind, unpacked)


def conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The same rows with exactly the columns of ``schema``; those it lacks are null.

    Raises ArrowInvalid where a value does not fit its type.
    """
    found: dict[str, pa.Array] = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns = []
    for field in schema:
        column = found.get(field.name)
        if column is None or (pa.types.is_null(field.type) and column.null_count == len(column)):
            column = pa.nulls(batch.num_rows, field.type)
        columns.append(column if column.type == field.type else pc.cast(column, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def plain_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """One dict a row, in the order of the columns."""
    names = batch.schema.names
    if not names:
        return [{} for _ in range(batch.num_rows)]
    return [dict(zip(names, row, strict=True)) for row in zip(*plain_columns(batch), strict=True)]


def plain_columns(batch: pa.RecordBatch) -> list[list[Any]]:
    """One list a column. Nanoseconds that microseconds cannot hold, and dates that Python does not
    have, are ISO text."""
    return [_values(column) for column in batch.columns]


def _values(column: pa.Array) -> list[Any]:
    kind = column.type
    wanted = _pythonic(kind)
    if wanted == kind:
        return _listed(column)
    values = _listed(pc.cast(column, wanted, safe=False))
    if pa.types.is_timestamp(kind):
        finer = pc.not_equal(pc.cast(pc.cast(column, wanted, safe=False), kind), column)
        if pc.any(finer).as_py():
            exact = pc.cast(column, pa.string()).to_pylist()
            values = [text if f else v for v, text, f in zip(values, exact, finer.to_pylist(), strict=True)]
    return values


def _listed(column: pa.Array) -> list[Any]:
    try:
        return list(column.to_pylist(maps_as_pydicts="strict"))
    except KeyError:  # a map with a key twice stays a list of pairs
        return list(column.to_pylist())
    except (ValueError, OverflowError):  # the year 12000
        return list(pc.cast(column, pa.string()).to_pylist())


def _pythonic(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return pa.time64("us")
    return _inside(kind, _pythonic)


def _inside(kind: pa.DataType, change: Any) -> pa.DataType:
    """``kind`` with ``change`` applied to the types it is made of."""
    if pa.types.is_struct(kind):
        fields = [f.with_type(change(f.type)) for f in kind]
        return kind if all(a.type == b.type for a, b in zip(fields, kind, strict=True)) else pa.struct(fields)
    if pa.types.is_map(kind):
        return pa.map_(change(kind.key_type), change(kind.item_type), kind.keys_sorted)
    for test, make in _LISTS:
        if test(kind):
            inner = change(kind.value_type)
            return kind if inner == kind.value_type else make(kind, kind.value_field.with_type(inner))
    return kind


_LISTS: tuple[tuple[Any, Any], ...] = (
    (pa.types.is_list, lambda kind, inner: pa.list_(inner)),
    (pa.types.is_large_list, lambda kind, inner: pa.large_list(inner)),
    (pa.types.is_fixed_size_list, lambda kind, inner: pa.list_(inner, kind.list_size)),
    (pa.types.is_list_view, lambda kind, inner: pa.list_(inner)),
    (pa.types.is_large_list_view, lambda kind, inner: pa.large_list(inner)),
)
