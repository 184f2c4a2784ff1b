"""Chunks as formats find them become batches of the size the pipeline wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa

from loom_dagster.connectors import CHUNK_BYTES, Chunk

__all__ = ["rebatched"]


def rebatched(chunks: Iterable[Chunk], rows: int, limit: int | None = None) -> Iterator[Chunk]:
    """The same rows, ``rows`` at a time, fewer where they are large, ``limit`` in all."""
    left = limit
    waiting: list[Chunk] = []
    for chunk in chunks:
        rest: Chunk | None = chunk
        while rest is not None and left != 0:
            wanted = rows - sum(c.rows for c in waiting)
            taken, rest = _split(rest, wanted if left is None else min(wanted, left))
            if waiting and sum(c.table.nbytes for c in (*waiting, taken)) > CHUNK_BYTES:
                yield _joined(waiting)
                waiting = []
            waiting.append(taken)
            left = None if left is None else left - taken.rows
            if sum(c.rows for c in waiting) == rows:
                yield _joined(waiting)
                waiting = []
        if left == 0:
            break
    if waiting:
        yield _joined(waiting)


def _split(chunk: Chunk, rows: int) -> tuple[Chunk, Chunk | None]:
    """Its first ``rows`` rows (fewer where they are large), and the rest."""
    if chunk.rows <= rows and chunk.table.nbytes <= CHUNK_BYTES:
        return chunk, None
    average = chunk.table.nbytes / max(chunk.table.num_rows, 1)
    rows = min(rows, max(1, int(CHUNK_BYTES / max(average, 1))))
    if chunk.rows <= rows:
        return chunk, None
    before = [row for row in chunk.unreadable if row.offset < rows]
    after = [replace(row, offset=row.offset - rows) for row in chunk.unreadable if row.offset >= rows]
    at = rows - len(before)
    return (
        Chunk(table=chunk.table.slice(0, at), unreadable=before),
        Chunk(table=chunk.table.slice(at), unreadable=after),
    )


def _joined(chunks: list[Chunk]) -> Chunk:
    if len(chunks) == 1:
        return chunks[0]
    unreadable = []
    start = 0
    for chunk in chunks:
        unreadable += [replace(row, offset=row.offset + start) for row in chunk.unreadable]
        start += chunk.rows
    return Chunk(table=pa.concat_batches([c.table for c in chunks]), unreadable=unreadable)
