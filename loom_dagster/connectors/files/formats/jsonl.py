"""JSON Lines: one object a line. A line that is none is an unreadable row; empty lines are nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa

from loom_dagster.connectors.files.formats.contract import CHUNK_BYTES, Chunk, Reading, Writer
from loom_dagster.connectors.files.formats.documents import Document, chunks_of, row_json, schema_of
from loom_dagster.connectors.files.formats.text import open_utf8
from loom_dagster.connectors.files.locations import File, accessing
from loom_dagster.errors import Misconfigured

__all__ = ["JsonLines", "LinesWriter"]


class JsonLines:
    """Also called NDJSON."""

    name = "jsonl"
    extensions = (".jsonl", ".ndjson")

    def schema(self, files: Sequence[File], reading: Reading) -> pa.Schema:
        return schema_of(self._all(files, reading), reading.exact)

    def chunks(self, files: Sequence[File], schema: pa.Schema, reading: Reading) -> Iterator[Chunk]:
        return chunks_of(self._all(files, reading), schema, reading)

    def documents(self, file: File, reading: Reading) -> Iterator[Document]:
        """The text of each line, and its number."""
        longest = 2 * CHUNK_BYTES
        with accessing(file.uri), open_utf8(file, reading.encoding) as stream:
            for number, line in enumerate(iter(lambda: stream.readline(longest), b""), 1):
                if len(line) == longest:
                    raise Misconfigured(
                        f"a line is longer than {longest >> 20} MB",
                        where=f"{file.uri}:{number}",
                        fix="if the file is one JSON array, set `extract.format: json`",
                    )
                if text := line.strip():
                    yield text, f"line {number}"

    def writer(self, stream: BinaryIO, schema: pa.Schema, *, path: str = "") -> LinesWriter:
        return LinesWriter(stream)

    def _all(self, files: Sequence[File], reading: Reading) -> Iterator[Document]:
        for file in files:
            yield from self.documents(file, reading)


class LinesWriter(Writer):
    """One line a row."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, batch: pa.RecordBatch) -> None:
        self.put(row_json(batch))

    def put(self, documents: Sequence[bytes]) -> None:
        """Objects that are JSON already."""
        self._stream.write(b"".join(raw + b"\n" for raw in documents))

    def close(self) -> None:
        """Nothing ends a file of lines."""
