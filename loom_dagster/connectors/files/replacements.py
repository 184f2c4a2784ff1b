"""New rows by their key, on disk, for a file in which they take the place of old ones."""

from __future__ import annotations

import bisect
import mmap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from loom_dagster.connectors.keys import KeyIndex, key_text
from loom_dagster.connectors.plain import plain_columns
from loom_dagster.errors import Misconfigured

__all__ = ["Replacements", "keys_of"]


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


def keys_of(batch: pa.RecordBatch, key: Sequence[str]) -> list[str | None]:
    """The text of each row's key."""
    columns = plain_columns(batch.select(list(key)))
    return [key_text(values) for values in zip(*columns, strict=True)]
