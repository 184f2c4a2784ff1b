"""The rows of a snapshot on their way to a destination."""

from __future__ import annotations

import bisect
import difflib
import mmap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loom_dagster.connectors import File, accessing, expand, locate
from loom_dagster.connectors.formats import Parquet, Reading
from loom_dagster.connectors.keys import KeyIndex, key_text
from loom_dagster.connectors.plain import plain_columns
from loom_dagster.errors import Misconfigured

__all__ = ["Incoming", "Replacements", "keys_of"]

_RECORD_ID = "_loom_record_id"


class Incoming:
    """A snapshot's table, of which ``columns`` are loaded, in that order."""

    def __init__(self, transformed: Path, columns: Sequence[str], key: Sequence[str], root: Path) -> None:
        self._files = expand(locate(str(transformed.absolute()), root))
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


class Replacements:
    """New rows by their key, kept in ``scratch`` so that any of them can be had at any time.

    ``take`` gives each row once; ``rest`` those that nobody took.
    """

    def __init__(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, key: Sequence[str], scratch: Path
    ) -> None:
        self._key = tuple(key)
        self._index = KeyIndex(scratch)
        self._starts: list[int] = []
        path, rows = str(scratch / "rows.arrow"), 0
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in batches:
                self._starts.append(rows)
                numbers = self._index.add((k or "" for k in keys_of(batch, key)), rows)
                if numbers != list(range(rows, rows + batch.num_rows)):
                    raise Misconfigured(f"the snapshot has two rows with one key ({'+'.join(key)})")
                rows += batch.num_rows
                writer.write_batch(batch)
        with open(path, "rb") as file:
            self._pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._rows = pa.ipc.open_file(pa.py_buffer(self._pages))
        self._left = bytearray(b"\1" * rows)

    def find(self, keys: Sequence[str | None]) -> list[int | None]:
        """The number of the new row for each key, None where there is none."""
        found = iter(self._index.find(key for key in keys if key is not None))
        return [None if key is None else next(found) for key in keys]

    def take(self, numbers: Sequence[int]) -> pa.RecordBatch:
        """The rows of these numbers, in this order. Raises Misconfigured if one was taken before."""
        by_batch: dict[int, list[tuple[int, int]]] = {}
        for place, number in enumerate(numbers):
            if not self._left[number]:
                raise Misconfigured(
                    f"the destination has two rows with one key ({'+'.join(self._key)}); which to replace is unclear",
                    fix="remove one of them",
                )
            self._left[number] = 0
            at = bisect.bisect_right(self._starts, number) - 1
            by_batch.setdefault(at, []).append((place, number - self._starts[at]))
        pieces, places = [], []
        for at, wanted in by_batch.items():
            pieces.append(self._rows.get_batch(at).take(pa.array([row for _, row in wanted])))
            self._forget()
            places += [place for place, _ in wanted]
        order = sorted(range(len(places)), key=places.__getitem__)
        return pa.concat_batches(pieces).take(pa.array(order))

    def rest(self) -> Iterator[pa.RecordBatch]:
        for at, start in enumerate(self._starts):
            batch = self._rows.get_batch(at)
            left = self._left[start : start + batch.num_rows]
            yield batch if all(left) else batch.filter(pa.array([bool(x) for x in left]))
            self._forget()

    def close(self) -> None:
        self._index.close()

    def _forget(self) -> None:
        """What was read stays in the system's cache and leaves this process, which would grow by all of it."""
        self._pages.madvise(mmap.MADV_DONTNEED)


def _count(file: File) -> int:
    with accessing(file.uri), file.open() as stream:
        return int(pq.ParquetFile(stream).metadata.num_rows)


def keys_of(batch: pa.RecordBatch, key: Sequence[str]) -> list[str | None]:
    """The text of each row's key."""
    columns = plain_columns(batch.select(list(key)))
    return [key_text(values) for values in zip(*columns, strict=True)]
