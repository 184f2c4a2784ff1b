"""One record of a snapshot, found by its id: of a million rows only the group that holds it is read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loom_dagster.connectors.plain import plain_rows
from loom_dagster.errors import Misconfigured
from loom_dagster.release.columns import PREFIX, RECORD_ID
from loom_dagster.release.row_index import rows_in_index

__all__ = ["Found", "find_record", "has_record", "readable"]

_AT_ONCE = 65_536
_TABLES = ("transformed", "quarantine", "deferred")
_TEXT_OF_ROW = (
    "source",
    "versions",
)  # a third of what is to be read, and the columns themselves say it better


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A record in a snapshot. ``table``: transformed, quarantine or deferred; ``row``: its columns there. ``kept``: the
    columns that are not ours, as the pipeline read them or made them; None where only the row's text is kept."""

    table: str
    row: dict[str, Any]
    kept: dict[str, Any] | None = None


@contextlib.contextmanager
def readable(folder: Path) -> Iterator[None]:
    """While tables of the snapshot at ``folder`` are read. Raises Misconfigured for one that is damaged."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise Misconfigured(
            "the tables of a snapshot cannot be read",
            where=str(folder),
            why=str(error).partition("\n")[0],
            fix="bring them back from a backup, or make them again: loom run PIPELINE --fresh",
            kind="snapshot_damaged",
        ) from error


def find_record(folder: Path, record_id: str) -> Found | None:
    """The record in the snapshot at ``folder``; None when it is not there, or the files are gone. Raises Misconfigured
    for a table that is damaged."""
    with readable(folder):
        return _found(folder, record_id)


def _found(folder: Path, record_id: str) -> Found | None:
    for table in _TABLES:
        whole = _row(folder / "quarantine_source.parquet", record_id) if table == "quarantine" else None
        batch = _row(folder / f"{table}.parquet", record_id, () if whole is None else _TEXT_OF_ROW)
        if batch is None:
            continue
        [row] = plain_rows(batch)
        if table == "quarantine":
            return Found(table=table, row=row, kept=None if whole is None else _kept(whole))
        return Found(table=table, row=row, kept=_kept(batch) if table == "transformed" else None)
    return None


def has_record(folder: Path, record_id: str) -> str | None:
    """The table that has the record, if an index says so; None also where there is no index."""
    for table in _TABLES:
        path = folder / f"{table}.parquet"
        if path.exists() and rows_in_index(path, record_id):
            return table
    return None


def _kept(batch: pa.RecordBatch) -> dict[str, Any]:
    [row] = plain_rows(batch.select([n for n in batch.schema.names if not n.startswith(PREFIX)]))
    return row


def _row(path: Path, record_id: str, without: Sequence[str] = ()) -> pa.RecordBatch | None:
    if not path.exists():
        return None
    with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
        numbers: Iterable[int] | None = rows_in_index(path, record_id, file.metadata.num_rows)
        name = RECORD_ID if RECORD_ID in file.schema_arrow.names else "record_id"
        if numbers is None:  # of a time before there were indexes, or a merge of several snapshots
            numbers = _scanned(file, name, record_id)
        for number in numbers:
            row = _at(
                file, number, [n for n in file.schema_arrow.names if n not in without] if without else None
            )
            if row.column(name)[0].as_py() == record_id:
                return row
    return None


def _at(file: pq.ParquetFile, number: int, columns: Sequence[str] | None) -> pa.RecordBatch:
    """The row, as a batch of one."""
    group = before = 0
    while number >= before + (here := file.metadata.row_group(group).num_rows):
        before, group = before + here, group + 1
    [row] = (
        file.read_row_group(group, columns, use_threads=False)
        .slice(number - before, 1)
        .combine_chunks()
        .to_batches()
    )
    return row


def _scanned(file: pq.ParquetFile, name: str, record_id: str) -> Iterable[int]:
    wanted, before = pa.scalar(record_id, pa.string()), 0
    for batch in file.iter_batches(_AT_ONCE, columns=[name]):
        at = pc.index(batch.column(0), wanted).as_py()
        if at >= 0:
            return [before + at]
        before += batch.num_rows
    return []
