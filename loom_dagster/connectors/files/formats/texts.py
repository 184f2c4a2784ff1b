"""Any Arrow value as the text a CSV file holds for it, and the file made of such texts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from loom_dagster.connectors.plain import plain_columns, unpacked
from loom_dagster.records import to_json

__all__ = ["CsvWriter", "as_texts"]

_WHOLE = r"^-?[0-9]+$"


def as_texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows with every column as text: nested values as JSON, bytes as base64, times as
    ISO 8601; a float always shows that it is one (``1.0``)."""
    return pa.RecordBatch.from_arrays([_texts(c) for c in batch.columns], names=batch.schema.names)


def _texts(column: pa.Array) -> pa.Array:
    kind = unpacked(column.type)
    if kind != column.type:
        column = pc.cast(column, kind)
    if (
        pa.types.is_null(kind)
        or pa.types.is_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
    ):
        return pc.cast(column, pa.string())
    if pa.types.is_large_string(kind) or pa.types.is_decimal(kind):
        return pc.cast(column, pa.string())
    if pa.types.is_floating(kind):
        texts = pc.cast(column, pa.string())
        whole = pc.match_substring_regex(texts, _WHOLE)
        return pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)
    [values] = plain_columns(pa.RecordBatch.from_arrays([column], names=["x"]))
    return pa.array([None if v is None else _text(v) for v in values], pa.string())


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    text = to_json(value).decode()
    return text[1:-1] if text.startswith('"') else text


class CsvWriter:
    """Quotes what needs it: delimiters, quotes, line ends, spaces at an end, and the empty text."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema, delimiter: str) -> None:
        self._stream, self._delimiter = stream, delimiter
        self._needs = rf'^$|^\s|\s$|["\r\n{delimiter}]|^\x{{FEFF}}'
        self._put([pa.array([name]) for name in schema.names])

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._put(as_texts(batch).columns)

    def close(self) -> None:
        """Nothing ends a CSV file."""

    def _put(self, columns: Sequence[pa.Array]) -> None:
        fields = [self._quoted(column) for column in columns]
        lines = pc.binary_join_element_wise(*fields, self._delimiter)
        self._stream.write("".join(f"{line}\n" for line in lines.to_pylist()).encode())

    def _quoted(self, texts: pa.Array) -> pa.Array:
        escaped = pc.replace_substring(texts, '"', '""')
        quoted = pc.binary_join_element_wise('"', escaped, '"', "")
        chosen = pc.if_else(pc.match_substring_regex(texts, self._needs), quoted, texts)
        return pc.fill_null(chosen, "")
