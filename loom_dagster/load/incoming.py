"""The rows of a snapshot on their way to a destination."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loom_dagster.connectors.files import File, accessing, expand, locate
from loom_dagster.connectors.files.formats import Parquet, Reading
from loom_dagster.errors import Misconfigured

__all__ = ["SnapshotRows"]

_RECORD_ID = "_loom_record_id"


class SnapshotRows:
    """A snapshot's table, of which ``columns`` are loaded, in that order."""

    def __init__(self, transformed: Path, columns: Sequence[str], key: Sequence[str]) -> None:
        self._files = expand(locate(str(transformed.absolute()), transformed.parent))
        self._whole = Parquet().schema(self._files, Reading())
        for name in (_RECORD_ID, *columns):
            if name not in self._whole.names:
                near = difflib.get_close_matches(name, self._whole.names, n=1)
                raise Misconfigured(
                    f"`load.columns` names `{name}`, which the snapshot does not have",
                    fix=f"did you mean `{near[0]}`?" if near else f"it has: {', '.join(self._whole.names)}",
                )
        for name in key:
            if name not in columns:
                raise Misconfigured(
                    f"an upsert needs the key column `{name}` in the destination",
                    fix="add it to `load.columns`",
                )
        self.schema = pa.schema([self._whole.field(name) for name in columns])
        self.rows = sum(_count(file) for file in self._files)

    def batches(self) -> Iterator[pa.RecordBatch]:
        for _, batch in self.with_ids():
            yield batch

    def with_ids(self) -> Iterator[tuple[list[str], pa.RecordBatch]]:
        """Each batch, and the record ids of its rows."""
        names = dict.fromkeys((_RECORD_ID, *self.schema.names))
        wanted = pa.schema([self._whole.field(name) for name in names])
        for chunk in Parquet().chunks(self._files, wanted, Reading(rows=4096)):
            yield chunk.table.column(_RECORD_ID).to_pylist(), chunk.table.select(self.schema.names)


def _count(file: File) -> int:
    with accessing(file.uri), file.open() as stream:
        return int(pq.ParquetFile(stream, pre_buffer=False).metadata.num_rows)
