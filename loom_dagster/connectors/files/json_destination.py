"""JSON destinations: rows that no load replaces stay as they were written, byte for byte."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa

from loom_dagster.connectors.files.formats import Json, JsonLines, Reading
from loom_dagster.connectors.files.formats.documents import Document, dumped, parsed, row_json, schema_of
from loom_dagster.connectors.files.locations import File
from loom_dagster.connectors.files.replacements import Replacements
from loom_dagster.connectors.keys import key_text
from loom_dagster.errors import Misconfigured

__all__ = ["DocumentDestination"]

_AT_ONCE = 4096


class DocumentDestination:
    """The objects that are there (none without ``file``), to be written again together with new ones.

    Raises Misconfigured when it is made if the columns do not fit together.
    """

    def __init__(self, form: Json | JsonLines, file: File | None, incoming: pa.Schema, path: str) -> None:
        self._form, self._file, self._path = form, file, path
        self.incoming = incoming
        own = schema_of(self._old(), frozenset()) if file else pa.schema([])
        for field in incoming:
            if field.name not in own.names:
                continue
            before, after = _family(own.field(field.name).type), _family(field.type)
            if "null" not in (before, after) and before != after:
                raise Misconfigured(
                    f"column `{field.name}` holds {before}s in {path} and would get a {after}",
                    why="a load never changes the type of a column",
                    fix="rename the output column, or load into another destination",
                )

    def prepared(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """New rows as this destination keeps them."""
        return batch

    def write(self, stream: BinaryIO, new: Iterable[pa.RecordBatch]) -> None:
        """The old rows, then the new ones."""
        self._put(stream, ([raw for raw, _ in some] for some in _some(self._old())), new)

    def upsert(self, stream: BinaryIO, new: Replacements, key: Sequence[str]) -> None:
        """The old rows, those of an equal key with new values, then the new rows that are left."""
        self._put(stream, (_merged(some, new, key) for some in _some(self._old())), new.rest())

    def _put(self, stream: BinaryIO, old: Iterable[list[bytes]], new: Iterable[pa.RecordBatch]) -> None:
        writer = self._form.writer(stream, self.incoming)
        for documents in old:
            writer.put(documents)
        for batch in new:
            writer.write(batch)
        writer.close()

    def _old(self) -> Iterator[Document]:
        if self._file is None:
            return
        for raw, place in self._form.documents(self._file, Reading()):
            try:
                parsed(raw)
            except ValueError as error:
                raise Misconfigured(
                    f"{self._path}, {place} is not an object", why=str(error), fix="mend or remove it"
                ) from error
            yield raw, place


def _merged(documents: Sequence[Document], new: Replacements, key: Sequence[str]) -> list[bytes]:
    rows = [parsed(raw) for raw, _ in documents]
    numbers = new.find([key_text([row.get(name) for name in key]) for row in rows])
    wanted = [n for n in numbers if n is not None]
    fresh = iter(row_json(new.take(wanted)) if wanted else [])
    return [
        raw if number is None else dumped({**row, **parsed(next(fresh))})
        for (raw, _), row, number in zip(documents, rows, numbers, strict=True)
    ]


def _some(documents: Iterator[Document]) -> Iterator[list[Document]]:
    while some := list(itertools.islice(documents, _AT_ONCE)):
        yield some


def _family(kind: pa.DataType) -> str:
    """What JSON calls it."""
    tests: tuple[tuple[Any, str], ...] = (
        (pa.types.is_null, "null"),
        (pa.types.is_boolean, "boolean"),
        (pa.types.is_integer, "number"),
        (pa.types.is_floating, "number"),
        (pa.types.is_struct, "object"),
        (pa.types.is_map, "object"),
        (pa.types.is_list, "array"),
        (pa.types.is_large_list, "array"),
        (pa.types.is_fixed_size_list, "array"),
    )
    return next((name for test, name in tests if test(kind)), "text")
