"""``extract.redact``: what nobody may see is replaced before anything else is done with it.

By a keyed hash: equal values stay equal, so that lineage and joins hold, and without the key nobody can look a value up
in a list of all mail addresses. As rows leave their source here first, everything after this sees only the hash.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import orjson
import pyarrow as pa

from loom_dagster.connectors import Chunk, Rows, Unreadable
from loom_dagster.connectors.keys import key_text
from loom_dagster.connectors.plain import plain_columns
from loom_dagster.errors import LoomError, Misconfigured, Transient
from loom_dagster.records import to_json
from loom_dagster.spec.findings import nearest

__all__ = ["RedactedRows", "Redactor", "discreetly", "redacted_table"]

_T = TypeVar("_T")

_DIGITS = 32
_ALREADY = re.compile(rf"redacted:[0-9a-f]{{{_DIGITS}}}")
_OURS, _RECORD_ID = "_loom_", "_loom_record_id"
_QUOTES = "left out, as it may quote a row (`extract.redact`)"


class Redactor:
    """Replaces values by their HMAC-SHA256 under ``key``."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def identity(self) -> str:
        """Tells one key from another, and nothing of it."""
        return hmac.digest(self._key, b"\0which key", "sha256").hex()[:16]

    def text(self, value: str) -> str:
        """``redacted:`` and 32 hex digits. The empty text, and what was redacted before, stay."""
        if not value or _ALREADY.fullmatch(value):
            return value
        raw = value.encode("utf-8", "surrogatepass")
        return f"redacted:{hmac.digest(self._key, raw, 'sha256').hex()[:_DIGITS]}"

    def values(self, column: pa.Array) -> pa.Array:
        """A column of texts; null stays null."""
        [values] = plain_columns(pa.RecordBatch.from_arrays([column], ["value"]))
        return pa.array([None if v is None else self.text(_as_text(v)) for v in values], pa.string())

    def within(self, column: pa.Array, path: Sequence[str]) -> pa.Array:
        """A column with what is at ``path`` in each of its values replaced; no path: the value itself."""
        if not path:
            return self.values(column)
        if not pa.types.is_struct(column.type):
            texts = column.to_pylist()
            return pa.array([None if t is None else self._in_json(t, path) for t in texts], pa.string())
        parts = column.flatten()
        at = column.type.get_field_index(path[0])
        parts[at] = self.within(parts[at], path[1:])
        fields = [field.with_type(part.type) for field, part in zip(column.type, parts, strict=True)]
        return pa.StructArray.from_arrays(parts, fields=fields, mask=column.is_null())

    def _in_json(self, text: str, path: Sequence[str]) -> str:
        """What is no JSON, or has something else there, may hold anything: it goes whole."""
        try:
            value = orjson.loads(text)
        except ValueError:
            return self.text(text)
        if not isinstance(value, dict | list):
            return self.text(text)
        return to_json(self._changed(value, path)).decode()

    def _changed(self, value: object, path: Sequence[str]) -> object:
        if value is None:
            return None
        if isinstance(value, list):
            return [self._changed(one, path) for one in value]
        if path and isinstance(value, dict):
            return {k: self._changed(v, path[1:]) if k == path[0] else v for k, v in value.items()}
        return self.text(_as_text(value))


class RedactedRows:
    """The rows of a source with its ``paths`` (``email``, ``customer.email``) redacted. Raises Misconfigured for a column
    that is not there."""

    def __init__(self, rows: Rows, paths: Sequence[str], redactor: Redactor) -> None:
        self._rows, self._redactor = rows, redactor
        self._paths = [_path(rows.schema, path, rows.uri) for path in paths if rows.schema.names]
        none = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in rows.schema], schema=rows.schema)
        self.schema = self._table(none).schema

    @property
    def uri(self) -> str:
        return self._rows.uri

    @property
    def files(self) -> Mapping[str, Sequence[str]]:
        return self._rows.files

    def chunks(self) -> Iterator[Chunk]:
        reading = self._rows.chunks()
        while (chunk := discreetly(lambda: next(reading, None))) is not None:
            yield Chunk(
                table=self._table(chunk.table), unreadable=[self._unreadable(row) for row in chunk.unreadable]
            )

    def close(self) -> None:
        self._rows.close()

    def _table(self, table: pa.RecordBatch) -> pa.RecordBatch:
        table = self._lineage(table)
        for name, *path in self._paths:
            at = table.schema.get_field_index(name)
            column = self._redactor.within(table.column(at), path)
            table = table.set_column(at, pa.field(name, column.type), column)
        return table

    def _lineage(self, table: pa.RecordBatch) -> pa.RecordBatch:
        """The ids that rows had in the pipeline they come from: they may be, or hold, what is redacted here."""
        at = table.schema.get_field_index(_RECORD_ID)
        if at < 0:
            return table
        ids, hidden = table.column(at).to_pylist(), []
        for name, *_ in self._paths:
            [values] = plain_columns(pa.RecordBatch.from_arrays([table.column(name)], ["value"]))
            texts = ["" if v is None else _as_text(v) for v in values]
            hidden += [
                texts,
                [to_json(text).decode()[1:-1] for text in texts],
            ]  # as a key of several columns has it
        for row, held in enumerate(zip(*hidden, strict=True)):
            if ids[row] is not None and any(text and text in ids[row] for text in held):
                ids[row] = self._redactor.text(ids[row])
        return table.set_column(at, _RECORD_ID, pa.array(ids, pa.string()))

    def _unreadable(self, row: Unreadable) -> Unreadable:
        """Nothing tells where in it the value is."""
        return Unreadable(
            offset=row.offset, raw=self._redactor.text(row.raw), reason=f"unreadable; why is {_QUOTES}"
        )


def redacted_table(table: pa.Table, paths: Sequence[str], redactor: Redactor) -> pa.Table:
    """Rows that were kept, perhaps before anything was redacted; what is a hash already stays."""
    for path in paths:
        if path in table.column_names or path.partition(".")[0] in table.column_names:
            name, *fields = _path(table.schema, path, "what was kept")
            column = table.column(name).combine_chunks()
            changed = redactor.within(column, fields)
            table = table.set_column(table.column_names.index(name), pa.field(name, changed.type), changed)
    return table


def discreetly(work: Callable[[], _T]) -> _T:
    """``work``, and what goes wrong with it told without the words that may quote a row: neither in the message nor in
    what it came from."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - told below, where it is no other error's context
        told = _without_rows(error)
    raise told


def _without_rows(error: Exception) -> LoomError:
    if isinstance(error, Transient):  # a server that is away has not read a row
        return Transient(
            error.what,
            where=error.where,
            why=error.why,
            fix=error.fix,
            kind=error.kind,
            retry_after=error.retry_after,
        )
    if isinstance(error, LoomError):
        why = None if error.why is None else f"why is {_QUOTES}"
        return Misconfigured(error.what, where=error.where, why=why, fix=error.fix, kind=error.kind)
    return Misconfigured("the source cannot be read", why=f"{type(error).__name__}; its words are {_QUOTES}")


def _path(schema: pa.Schema, path: str, uri: str) -> list[str]:
    """Column and fields. Raises Misconfigured for what is not there."""
    names = [name for name in schema.names if not name.startswith(_OURS)]
    if path in names:
        return [path]
    name, *fields = path.split(".")
    if not fields or name not in names:
        near = nearest(path, names, others=False)
        raise Misconfigured(
            f"{uri} has no column `{path}`, which `extract.redact` names",
            fix=near or "see that it is spelled as in the source",
        )
    kind = schema.field(name).type
    for at, field in enumerate(fields):
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            break  # JSON, which each row shows
        if not pa.types.is_struct(kind):
            what = (
                f"`extract.redact` names `{path}`, and `{'.'.join([name, *fields[:at]])}` of {uri} is {kind}"
            )
            raise Misconfigured(what, fix=f"redact all of it: `{'.'.join([name, *fields[:at]])}`")
        if kind.get_field_index(field) < 0:
            near = nearest(field, [f.name for f in kind], others=False)
            raise Misconfigured(
                f"{uri} has no `{path}`, which `extract.redact` names: there is no `{field}` in it", fix=near
            )
        kind = kind.field(field).type
    return [name, *fields]


def _as_text(value: object) -> str:
    """A number and its text are equal."""
    if isinstance(value, str):
        return value
    return key_text([value]) or to_json(value).decode()
