"""Increments as one table: every record once, as the newest of them has it.

Made when somebody reads it and kept beside the newest snapshot, on which the next one builds.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loom_dagster.connectors.keys import KeyIndex
from loom_dagster.connectors.plain import conformed
from loom_dagster.errors import Misconfigured
from loom_dagster.records import digest
from loom_dagster.release.columns import RECORD_ID
from loom_dagster.release.snapshot import Snapshot

__all__ = ["gone", "together", "union_of"]

_UNION = "union.parquet"
_AT_ONCE = 4096
_SHOWN = 5
_KEPT = 3  # tables of several partitions: somebody may still read an older one


def union_of(parts: Sequence[Snapshot]) -> Path:
    """The Parquet file of ``parts``, of which the first is whole and the others are increments, in their order.

    Raises Misconfigured when a column has changed its type between them.
    """
    if len(parts) == 1:
        return parts[0].transformed
    made = parts[-1].transformed.with_name(_UNION)
    if made.exists():
        return made
    files = [part.transformed for part in parts]
    for at in range(len(parts) - 1, 0, -1):  # an earlier union stands for everything up to it
        earlier = parts[at].transformed.with_name(_UNION)
        if earlier.exists():
            files = [earlier, *files[at + 1 :]]
            break
    with tempfile.TemporaryDirectory() as scratch:
        _write(made, files, parts[-1], _latest(files, Path(scratch)))
    return made


def together(parts: Sequence[Snapshot], folder: Path, *, keyed: bool) -> Path:
    """The Parquet file, in ``folder``, of ``parts`` one after the other; of ``keyed`` records that several have, the
    last one's. Raises Misconfigured when a column has changed its type between them."""
    if len(parts) == 1:
        return parts[0].transformed
    files = [part.transformed for part in parts]
    made = folder / f"{digest(keyed, [str(file) for file in files]).hex()[:32]}.parquet"
    if made.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob("*.parquet"), key=lambda file: file.stat().st_mtime)[:-_KEPT]:
        old.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        _write(made, files, parts[-1], _latest(files, Path(scratch)) if keyed else _rows(files))
    return made


def _write(made: Path, files: Sequence[Path], newest: Snapshot, batches: Iterator[pa.RecordBatch]) -> None:
    schema = _common([pq.read_schema(file) for file in files], newest)
    beside = made.with_name(f"{made.name}.{secrets.token_hex(4)}.tmp")
    try:
        with pq.ParquetWriter(beside, schema) as writer:
            for batch in batches:
                writer.write_batch(conformed(batch, schema))
        beside.replace(made)
    finally:
        beside.unlink(missing_ok=True)


def _rows(files: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    for path in files:
        yield from pq.ParquetFile(path, pre_buffer=False).iter_batches(_AT_ONCE)


def gone(before: Path, now: Sequence[Path]) -> tuple[int, list[str]]:
    """How many records of the table ``before`` are in none of the tables ``now``, and the ids of some."""
    found: list[str] = []
    number = 0
    with tempfile.TemporaryDirectory() as scratch, closing(KeyIndex(Path(scratch))) as index:
        for path in now:
            for ids in _ids(path):
                index.add(ids, 0)
        for ids in _ids(before):
            missing = [i for i, at in zip(ids, index.find(ids), strict=True) if at is None]
            number += len(missing)
            found += missing[: _SHOWN - len(found)]
    return number, found


def _latest(files: Sequence[Path], scratch: Path) -> Iterator[pa.RecordBatch]:
    """The rows of all files but those whose record is in a later one."""
    with closing(KeyIndex(scratch)) as index:
        starts: list[int] = []
        number = 0
        for path in reversed(files):  # a record keeps the number it got first: that of the newest file
            starts.append(number)
            for ids in _ids(path):
                index.add(ids, number)
                number += len(ids)
        ends = [*starts[1:], number]
        for path, start, end in zip(files, reversed(starts), reversed(ends), strict=True):
            for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(_AT_ONCE):
                numbers = index.find(batch.column(RECORD_ID).to_pylist())
                yield batch.filter(
                    pa.array([n is not None and start <= n < end for n in numbers], pa.bool_())
                )


def _ids(path: Path) -> Iterator[list[str]]:
    file = pq.ParquetFile(path, pre_buffer=False)
    name = RECORD_ID if RECORD_ID in file.schema_arrow.names else "record_id"
    for batch in file.iter_batches(_AT_ONCE, columns=[name]):
        yield batch.column(0).to_pylist()


def _common(schemas: Sequence[pa.Schema], newest: Snapshot) -> pa.Schema:
    try:
        return pa.unify_schemas([s.remove_metadata() for s in schemas], promote_options="permissive")
    except pa.ArrowException as error:
        raise Misconfigured(
            f"the {'partitions' if newest.partition else 'increments'} of `{newest.pipeline}` cannot be read as one table:"
            " a column has changed its type",
            why=str(error).partition("\n")[0],
            fix=f"run the older partitions of {newest.pipeline} again"
            if newest.partition
            else f"read everything anew: loom run {newest.pipeline} --full-refresh",
        ) from error
