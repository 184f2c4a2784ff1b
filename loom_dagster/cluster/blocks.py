"""Records on their way to a worker, and the rows of tables that come back: as Arrow's bytes, plain values beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from loom_dagster.connectors.plain import plain_rows
from loom_dagster.records import Batch, Quarantined, Record

__all__ = ["Block", "Made", "packed", "packed_tables", "read_back", "unpacked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Records that follow each other: ``rows`` is their table as an IPC stream. ``samples``, by id: how many answers
    were had before. ``rejected`` as in Batch."""

    index: int
    rows: bytes
    ids: Sequence[str]
    positions: Sequence[int]
    rejected: Sequence[Quarantined] = ()
    samples: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes, about."""
        return len(self.rows) + 64 * len(self.ids)

    def part(self, first: int, end: int) -> Block:
        """Records ``first`` to ``end``; a rejected row goes with the record before it, or with the first one."""
        after = self.positions[first] if first else -1
        before = self.positions[end] if end < len(self.ids) else None
        ids = self.ids[first:end]
        return Block(
            index=self.index,
            rows=_bytes(_table(self.rows).slice(first, end - first)),
            ids=ids,
            positions=self.positions[first:end],
            rejected=[
                row
                for row in self.rejected
                if after < row.position and (before is None or row.position < before)
            ],
            samples={i: self.samples[i] for i in ids if i in self.samples},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What became of a block: the rows of each table, and what was ``counted`` of its records, for ``Tally.merge``."""

    tables: Mapping[str, bytes]
    counted: Mapping[str, Any]


def packed(batch: Batch, samples: Mapping[str, int]) -> Block:
    """A piece of a batch, without the rows of others."""
    records = batch.records
    first = records[0].row if records else 0
    return Block(
        index=batch.index,
        rows=_bytes(batch.table.slice(first, len(records))),
        ids=[record.id for record in records],
        positions=[record.position for record in records],
        rejected=batch.rejected,
        samples={r.id: samples[r.id] for r in records if r.id in samples} if samples else {},
    )


def unpacked(block: Block) -> Batch:
    """The batch that it was, in any process."""
    table = _table(block.rows)
    rows = zip(block.ids, block.positions, plain_rows(table), strict=True)
    return Batch(
        index=block.index,
        table=table,
        records=[
            Record(id=record_id, position=position, row=row, columns=columns)
            for row, (record_id, position, columns) in enumerate(rows)
        ],
        rejected=block.rejected,
    )


def packed_tables(made: Mapping[str, pa.RecordBatch]) -> dict[str, bytes]:
    return {name: _bytes(rows) for name, rows in made.items()}


def read_back(parts: Sequence[Mapping[str, bytes]]) -> dict[str, pa.RecordBatch]:
    """The tables of one block, whose ``parts`` follow each other."""
    tables: dict[str, list[pa.RecordBatch]] = {}
    for part in parts:
        for name, rows in part.items():
            tables.setdefault(name, []).append(_table(rows))
    return {name: rows[0] if len(rows) == 1 else pa.concat_batches(rows) for name, rows in tables.items()}


def _bytes(rows: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_batch(rows)
    packed_rows: bytes = sink.getvalue().to_pybytes()
    return packed_rows


def _table(rows: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(rows) as stream:
        return stream.read_next_batch()
