"""How far a reading came, so that another one goes on exactly there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from loom_dagster.connectors.contract import Chunk
from loom_dagster.errors import Transient

__all__ = ["Progress"]


class Progress:
    """The rows that were given. A new reading begins at ``key``, the values that the last row has in ``order``
    (at the start, where there is no order or the last row has a null there), and passes over ``passed`` rows.

    The last of those has to be the row that was given last: where rows came, went or moved meanwhile, it is not. What
    stands between two of the same key, or before a row of a source without a key, is not compared.
    """

    def __init__(self, order: Sequence[str]) -> None:
        self._order = tuple(order)
        self.key: tuple[Any, ...] = ()
        self.passed = 0
        self._last = ""

    def given(self, chunk: Chunk) -> None:
        """``chunk`` was given, after all others."""
        self._last = _row(chunk, chunk.rows - 1)
        key = self._key_at_end(chunk)
        if not key:
            self.passed += chunk.rows
            return
        same = 1
        while same < chunk.rows and self._key(chunk, chunk.rows - 1 - same) == key:
            same += 1
        self.passed = self.passed + same if key == self.key and same == chunk.rows else same
        self.key = key

    def rest(self, chunks: Iterable[Chunk], what: str) -> Iterator[Chunk]:
        """What a new reading has beyond the rows that were given. Raises Transient where those are not the same."""
        left, last = self.passed, self._last  # they change while the rest is given
        for chunk in chunks:
            if not left:
                yield chunk
                continue
            count = min(left, chunk.rows)
            left -= count
            if not left and _row(chunk, count - 1) != last:
                raise _changed(what)
            if count < chunk.rows:
                yield _behind(chunk, count)
        if left:
            raise _changed(what)

    def _key_at_end(self, chunk: Chunk) -> tuple[Any, ...]:
        if not self._order or chunk.unreadable or not chunk.rows:
            return ()
        key = self._key(chunk, chunk.rows - 1)
        return () if any(value is None for value in key) else key

    def _key(self, chunk: Chunk, at: int) -> tuple[Any, ...]:
        """Of the row at ``at``; none where it could not be read."""
        index = _index(chunk, at)
        return () if index is None else tuple(chunk.table.column(n)[index].as_py() for n in self._order)


def _index(chunk: Chunk, at: int) -> int | None:
    """Where in its table the row at ``at`` of a chunk is."""
    before = [row.offset for row in chunk.unreadable if row.offset <= at]
    return None if at in before else at - len(before)


def _row(chunk: Chunk, at: int) -> str:
    """What tells one row from another."""
    index = _index(chunk, at)
    if index is None:
        return next(row.raw for row in chunk.unreadable if row.offset == at)
    return str(
        [column[index] for column in chunk.table.columns]
    )  # as Arrow writes it: there are years beyond 9999


def _behind(chunk: Chunk, count: int) -> Chunk:
    """Without its first ``count`` rows."""
    kept = [replace(row, offset=row.offset - count) for row in chunk.unreadable if row.offset >= count]
    passed = count - (len(chunk.unreadable) - len(kept))
    return Chunk(table=chunk.table.slice(passed), unreadable=kept)


def _changed(what: str) -> Transient:
    return Transient(
        what,
        why="the connection was lost, and the rows had changed when it was back",
        fix="run again; with an `extract.key` a reading goes on where it was",
        kind="rows_changed",
    )
