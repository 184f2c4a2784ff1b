"""What JSON and JSON Lines share: a source is a row of texts, each of which should be one object."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson
import pyarrow as pa

from loom_dagster.connectors.files.formats.contract import CHUNK_BYTES, Chunk, Reading, Unreadable
from loom_dagster.connectors.files.formats.kinds import Kind, arrow_type, fitted, kind_of, unify
from loom_dagster.connectors.files.formats.text import shown
from loom_dagster.connectors.plain import plain_rows
from loom_dagster.records import to_json

__all__ = ["Document", "chunks_of", "dumped", "parsed", "row_json", "schema_of"]

Document = tuple[bytes, str]  # its text, and where it is for messages ("line 3")

_LONG = re.compile(rb"\d{19}")
_DEEP = 200  # brackets in a row; only then may it be nested more deeply than Python can follow
_SETTLED = frozenset({str, bool, float, type(None)})


def parsed(raw: bytes) -> dict[str, Any]:
    """The object in ``raw``; integers of any size are exact. Raises ValueError if it is none."""
    value = orjson.loads(raw)
    try:
        if _LONG.search(raw):  # orjson makes floats of integers beyond 64 bits
            value = json.loads(raw)
        if raw.count(b"{") + raw.count(b"[") > _DEEP:
            json.dumps(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"{_a(value)}, not an object")  # noqa: TRY004 - what is wrong is the text
    return value


def schema_of(documents: Iterable[Document], exact: frozenset[str]) -> pa.Schema:
    """One type for each name that occurs, in the order of first appearance."""
    kinds: dict[str, Kind] = {}
    settled: set[tuple[str, type]] = set()
    for raw, _ in documents:
        try:
            row = parsed(raw)
        except ValueError:
            continue
        for name, value in row.items():
            kind = type(value)
            if (name, kind) in settled and (kind is not int or -(2**53) <= value <= 2**53):
                continue
            kinds[name] = unify(kinds.get(name, "null"), kind_of(value), exact=name in exact)
            if kind in _SETTLED or (kind is int and -(2**53) <= value <= 2**53):
                settled.add((name, kind))
    return pa.schema([(name, arrow_type(kind)) for name, kind in kinds.items()])


def chunks_of(documents: Iterable[Document], schema: pa.Schema, reading: Reading) -> Iterator[Chunk]:
    """Rows with the columns of ``schema``; what is no object is unreadable."""
    rows: list[dict[str, Any]] = []
    unreadable: list[Unreadable] = []
    size = 0
    for raw, place in documents:
        try:
            rows.append(parsed(raw))
        except ValueError as error:
            offset = len(rows) + len(unreadable)
            unreadable.append(Unreadable(offset=offset, raw=shown(raw), reason=f"{place}: {error}"))
        size += len(raw)
        if len(rows) + len(unreadable) >= reading.rows or size >= CHUNK_BYTES:
            yield Chunk(table=_table(rows, schema), unreadable=unreadable)
            rows, unreadable, size = [], [], 0
    if rows or unreadable:
        yield Chunk(table=_table(rows, schema), unreadable=unreadable)


def row_json(batch: pa.RecordBatch) -> list[bytes]:
    """Each row as one JSON object, its columns in order; decimals and times as text, bytes as base64."""
    return [dumped(row) for row in plain_rows(batch)]


def dumped(row: dict[str, Any]) -> bytes:
    """One row as JSON."""
    try:
        return orjson.dumps(row, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=_plain).encode()


def _plain(value: object) -> object:
    return json.loads(to_json(value))


def _table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        if pa.types.is_string(field.type) or pa.types.is_nested(field.type):
            values = [fitted(value, field.type) for value in values]
        columns.append(pa.array(values, field.type))
    if not columns:  # rows without any column: {}
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), pa.struct([])))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _a(value: object) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
