"""A schema of a Postgres database as a place of answers: opened, looked at, looked after."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from loom_dagster.clock import Clock
from loom_dagster.ledger.answer_server import AnswerServer, given
from loom_dagster.ledger.answer_table import AnswerTable

__all__ = ["AnswerSchema"]


class AnswerSchema(AnswerServer):
    """Fits ``AnswerPlace``."""

    newest = "created_at DESC"

    def open(self, *, clock: Clock | None = None) -> AnswerTable:
        """The store, made when it is missing; the caller closes it."""
        return AnswerTable(self, clock=clock)

    def size(self) -> int:
        """Bytes on the server's disk, with the index and what waits for a vacuum."""
        rows = self.rows("SELECT pg_total_relation_size(?)", [self.table])
        return int(rows[0][0]) if rows else 0

    def delete(self, condition: str, values: Sequence[Any]) -> int:
        """Those for which it holds; in 256 transactions, as keys are spread evenly."""
        if not self.exists():
            return 0
        sql = f"DELETE FROM {self.table} WHERE key >= ? AND key < ? AND {condition}"  # noqa: S608 - a plain name
        ends = [bytes([first]) for first in range(256)] + [b"\xff" * 33]
        bound = given(values)
        return sum(self.change(sql, [*step, *bound]) for step in itertools.pairwise(ends))

    def shrink(self, *, alone: bool) -> bool:
        """Let the server use the room of what was deleted again, at once; what it does later by itself."""
        if self.exists():
            self.change(f"VACUUM {self.table}")
        return True
