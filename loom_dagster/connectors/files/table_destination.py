"""Destinations whose rows are Arrow's: Parquet with its types, CSV with every column as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa

from loom_dagster.connectors.files.formats import Chunk, Csv, Parquet, Reading
from loom_dagster.connectors.files.formats.texts import as_texts
from loom_dagster.connectors.files.locations import File
from loom_dagster.connectors.files.replacements import Replacements, keys_of
from loom_dagster.connectors.plain import conformed
from loom_dagster.errors import Misconfigured

__all__ = ["TableDestination"]

_AT_ONCE = 4096


class TableDestination:
    """The rows that are there (none without ``file``), to be written again together with new ones.

    Raises Misconfigured when it is made if the columns do not fit together.
    """

    def __init__(self, form: Csv | Parquet, file: File | None, incoming: pa.Schema, path: str) -> None:
        self._form, self._file, self._path = form, file, path
        self._texts = isinstance(form, Csv)
        self.incoming = _all_text(incoming) if self._texts else incoming
        self._own = form.schema([file], Reading()) if file else pa.schema([])
        if self._texts:
            self._own = _all_text(self._own)
        self._schema = _joined(self._own, self.incoming, path)

    def prepared(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """New rows as this destination keeps them."""
        return as_texts(batch) if self._texts else batch

    def write(self, stream: BinaryIO, new: Iterable[pa.RecordBatch]) -> None:
        """The old rows, then the new ones."""
        self._put(stream, self._old(), new)

    def upsert(self, stream: BinaryIO, new: Replacements, key: Sequence[str]) -> None:
        """The old rows, those of an equal key with new values, then the new rows that are left."""
        self._put(stream, (self._merged(batch, new, key) for batch in self._old()), new.rest())

    def _put(self, stream: BinaryIO, old: Iterable[pa.RecordBatch], new: Iterable[pa.RecordBatch]) -> None:
        writer = self._form.writer(stream, self._schema, path=self._path)
        try:
            for batches in (
                old,
                new,
            ):  # in this order: what is left of the new ones is known after the old ones
                for batch in batches:
                    writer.write(conformed(batch, self._schema))
        finally:  # also when it fails: one that is left open writes when it is collected
            writer.close()

    def _old(self) -> Iterator[pa.RecordBatch]:
        if self._file is None:
            return
        for chunk in self._chunks(self._file):
            if chunk.unreadable:
                row = chunk.unreadable[0]
                raise Misconfigured(
                    f"{self._path} has a row that cannot be read",
                    why=f"{row.reason}: {row.raw[:80]}",
                    fix="mend it",
                )
            for at in range(0, chunk.table.num_rows, _AT_ONCE):  # a merge holds several copies of them
                yield conformed(chunk.table.slice(at, _AT_ONCE), self._schema)

    def _chunks(self, file: File) -> Iterator[Chunk]:
        if isinstance(self._form, Csv):
            return self._form.texts(file, Reading())
        return self._form.chunks([file], self._own, Reading())

    def _merged(self, old: pa.RecordBatch, new: Replacements, key: Sequence[str]) -> pa.RecordBatch:
        numbers = new.find(keys_of(old, key))
        rows = [row for row, number in enumerate(numbers) if number is not None]
        if not rows:
            return old
        fresh = conformed(new.take([n for n in numbers if n is not None]), self._schema)
        order = list(range(old.num_rows))
        for place, row in enumerate(rows, old.num_rows):
            order[row] = place
        columns = [
            pa.concat_arrays([mine, theirs]).take(pa.array(order))
            if field.name in self.incoming.names
            else mine
            for field, mine, theirs in zip(self._schema, old.columns, fresh.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


def _all_text(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in schema.names])


def _joined(own: pa.Schema, new: pa.Schema, path: str) -> pa.Schema:
    """The columns of both: those of the destination with their types, then what is new."""
    fields = [pa.field(f.name, f.type) for f in own]
    for field in new:
        if field.name not in own.names:
            fields.append(pa.field(field.name, field.type))
            continue
        at = own.get_field_index(field.name)
        both = _common(own.field(at).type, field.type)
        if both is None:
            raise Misconfigured(
                f"column `{field.name}` is {own.field(at).type} in {path} and would become {field.type}",
                why="a load never changes the type of a column",
                fix="rename the output column, or load into another destination",
            )
        fields[at] = pa.field(field.name, both)
    return pa.schema(fields)


def _common(own: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """The column's type afterwards: its own, nulls given a type, structs new fields. None: they differ."""
    try:
        schemas = [pa.schema([("x", own)]), pa.schema([("x", new)])]
        both = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return None
    return both if _extends(both, own) else _widened(own, new)


def _extends(wide: pa.DataType, own: pa.DataType) -> bool:
    if pa.types.is_null(own) or wide == own:
        return True
    if pa.types.is_struct(own) and pa.types.is_struct(wide):
        return all(_extends(wide.field(f.name).type, f.type) for f in own)
    if pa.types.is_list(own) and pa.types.is_list(wide):
        return _extends(wide.value_type, own.value_type)
    return False


def _widened(own: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """Texts and bytes have a small and a large type that hold the same."""
    for pair in ((pa.string(), pa.large_string()), (pa.binary(), pa.large_binary())):
        if own in pair and new in pair:
            return own
    return None
