"""Parquet, whose types are kept; dictionaries are unpacked, for what is in them is a plain column."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from loom_dagster.connectors.files.formats.contract import CHUNK_BYTES, Chunk, Reading, Writer
from loom_dagster.connectors.files.locations import File, accessing
from loom_dagster.connectors.plain import conformed, unpacked
from loom_dagster.errors import Misconfigured

__all__ = ["Parquet"]

_GROUP_ROWS = 131_072
_GROUP_BYTES = 16 * 1024 * 1024


class Parquet:
    """Row groups are streamed, so one may be larger than memory."""

    name = "parquet"
    extensions = (".parquet", ".pq")

    def schema(self, files: Sequence[File], reading: Reading) -> pa.Schema:
        whole = pa.schema([])
        for file in files:
            with accessing(file.uri), _seekable(file) as stream:
                own = _schema(_opened(stream, file), file)
            try:
                whole = pa.unify_schemas([whole, own], promote_options="permissive")
            except pa.ArrowException as error:
                raise Misconfigured(
                    f"the columns of {file.uri} do not fit those of the files before it", why=str(error)
                ) from error
        return whole

    def chunks(self, files: Sequence[File], schema: pa.Schema, reading: Reading) -> Iterator[Chunk]:
        for file in files:
            with accessing(file.uri), _seekable(file) as stream:
                opened = _opened(stream, file)
                own = opened.schema_arrow.names
                columns = [name for name in own if name in schema.names] if schema.names else own
                for batch in opened.iter_batches(batch_size=_rows(opened, reading), columns=columns):
                    if batch.num_rows:
                        yield Chunk(table=conformed(batch, schema))

    def writer(self, stream: BinaryIO, schema: pa.Schema, *, path: str = "") -> Writer:
        return _ParquetWriter(stream, schema)


class _ParquetWriter:
    """A row group a ``_GROUP_BYTES`` or ``_GROUP_ROWS``, so that neither many small ones nor one large
    one comes out."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(stream, schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._bytes >= _GROUP_BYTES or self._rows >= _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._bytes, self._rows = [], 0, 0


@contextmanager
def _seekable(file: File) -> Iterator[BinaryIO]:
    """The file's bytes in any order. Those of a web server, which may know only one, are fetched first."""
    with file.open() as stream:
        if not file.location.web:
            yield stream
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
            copy.seek(0)
            yield cast("BinaryIO", copy)


def _opened(stream: BinaryIO, file: File) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise Misconfigured(
            f"{file.uri} is not a readable Parquet file", why=_why(stream, str(error))
        ) from error


def _why(stream: BinaryIO, message: str) -> str:
    stream.seek(0, 2)
    size = stream.tell()
    stream.seek(0)
    start = stream.read(4)
    stream.seek(max(size - 4, 0))
    end = stream.read(4)
    if size == 0:
        return "it is empty"
    if b"PARE" in (start, end):
        return "it is encrypted"
    if start == b"PAR1" and end != b"PAR1":
        return "it is cut off; write it again"
    return "it is something else" if start != b"PAR1" else message.splitlines()[0]


def _schema(opened: pq.ParquetFile, file: File) -> pa.Schema:
    fields = opened.schema_arrow
    for name in fields.names:
        if fields.names.count(name) > 1:
            raise Misconfigured(f"{file.uri} has two columns called `{name}`", fix="rename one of them")
    return pa.schema([pa.field(f.name, unpacked(f.type)) for f in fields])


def _rows(opened: pq.ParquetFile, reading: Reading) -> int:
    """So many rows that a batch stays within ``CHUNK_BYTES``, by what the file says of itself."""
    groups = [opened.metadata.row_group(i) for i in range(opened.metadata.num_row_groups)]
    largest = max((g.total_byte_size / g.num_rows for g in groups if g.num_rows), default=1.0)
    return max(1, min(reading.rows, int(CHUNK_BYTES / max(largest, 1.0))))
