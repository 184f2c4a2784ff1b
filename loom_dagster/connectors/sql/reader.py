"""What reads a database: one for PostgreSQL, and one for every other that SQLAlchemy knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa

from loom_dagster.connectors.contract import Chunk
from loom_dagster.connectors.sql.selection import Selection

__all__ = ["Reader"]


class Reader(Protocol):
    """Each call has a connection of its own, in which nothing can be changed. What goes wrong is raised as
    Misconfigured or Transient."""

    def describe(self, selection: Selection) -> pa.Schema:
        """The columns that a table or a query has; no rows are read."""

    def read(self, selection: Selection, schema: pa.Schema, rows: int) -> Iterator[Chunk]:
        """Its rows as ``schema``, which has some of its columns in any order, at most ``rows`` a chunk; in
        constant memory. Two readings of unchanged data give the same rows in the same order."""
