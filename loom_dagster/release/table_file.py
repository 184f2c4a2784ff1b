"""One Parquet file, written in row groups of a size that reads well, whatever the size of the batches."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from loom_dagster.records import to_json
from loom_dagster.release.columns import RECORD_ID
from loom_dagster.release.row_index import IndexFile

__all__ = ["TableFile", "sync_folder"]

_GROUP_ROWS = (
    8_192  # at least: one row costs half of what it does in groups of 16,384, and files are no larger
)
_GROUP_BYTES = 8 * 1024 * 1024
_SAMPLE = 10
_LONG_TEXT = 500  # characters of a text that a sample shows


class TableFile:
    """Holds at most one row group in memory. ``rows`` counts what was given. Beside it comes an index of its records."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema, self.rows = path, schema, 0
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", compression_level=1)
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._head: list[pa.RecordBatch] = []
        self._head_rows = 0
        self._ids = next(name for name in (RECORD_ID, "record_id") if name in schema.names)
        self._index = IndexFile(path)

    def append(self, batch: pa.RecordBatch) -> None:
        if self._head_rows < _SAMPLE:
            self._head.append(batch.slice(0, _SAMPLE - self._head_rows))
            self._head_rows += self._head[-1].num_rows
        self.rows += batch.num_rows
        self._index.append(batch.column(self._ids).to_pylist())
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += batch.nbytes
        if self._waiting_rows >= _GROUP_ROWS or self._waiting_bytes >= _GROUP_BYTES:
            self._flush()

    def finish(self) -> None:
        """Everything is on disk when this returns."""
        self._flush()
        self._writer.close()
        self._index.finish()
        with self.path.open("rb") as file:
            os.fsync(file.fileno())

    def abandon(self) -> None:
        """Let go of the file, whatever is in it."""
        self._waiting.clear()
        self._writer.close()
        self._index.abandon()

    def sample(self) -> list[dict[str, object]]:
        """The first rows, ready for JSON, with long texts cut."""
        rows = [row for batch in self._head for row in batch.to_pylist()]
        return [{name: _shown(value) for name, value in row.items()} for row in rows]

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, self.schema)
            self._writer.write_table(table, row_group_size=2 * _GROUP_ROWS)
            del table
        self._waiting.clear()
        self._waiting_rows = self._waiting_bytes = 0
        # what many small arrays and texts leave behind is in pieces, which malloc would keep and add to
        pa.system_memory_pool().release_unused()


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _shown(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= _LONG_TEXT else f"{value[:_LONG_TEXT]}…"
    if value is None or isinstance(value, bool | int | float):
        return orjson.loads(to_json(value))
    plain = to_json(value)
    return (
        orjson.loads(plain) if len(plain) <= _LONG_TEXT else f"{plain[:_LONG_TEXT].decode(errors='ignore')}…"
    )
