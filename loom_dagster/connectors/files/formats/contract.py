"""What every file format gives: a schema, chunks of rows, and a writer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import pyarrow as pa

from loom_dagster.connectors.contract import CHUNK_BYTES, Chunk, Unreadable
from loom_dagster.connectors.files.locations import File

__all__ = ["CHUNK_BYTES", "Chunk", "Format", "Reading", "Unreadable", "Writer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How files are read.

    Columns in ``exact`` tell 1 from 1.0, for they are keys. A chunk has about ``rows`` rows, fewer where
    ``CHUNK_BYTES`` are reached.
    """

    encoding: str = "utf-8"
    exact: frozenset[str] = frozenset()
    rows: int = 8192


class Writer(Protocol):
    """Takes batches of the schema it was made with. ``close`` ends the format, not the stream."""

    def write(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


class Format(Protocol):
    """A file format. Both readings of a source go over the same bytes in constant memory; they raise
    Misconfigured for what makes the whole of it unreadable."""

    @property
    def name(self) -> str: ...

    @property
    def extensions(self) -> tuple[str, ...]:
        """With the dot; the first is the one we write."""

    def schema(self, files: Sequence[File], reading: Reading) -> pa.Schema:
        """The columns of all files together; without any for an empty source."""

    def chunks(self, files: Sequence[File], schema: pa.Schema, reading: Reading) -> Iterator[Chunk]:
        """All rows, with exactly the columns of ``schema``."""

    def writer(self, stream: BinaryIO, schema: pa.Schema, *, path: str = "") -> Writer:
        """Writes a whole file into ``stream``. ``path`` is its name, which may say more (``.tsv``)."""
