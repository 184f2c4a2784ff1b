"""Who a record is: by its key, or by what is in it. And which rows cannot be anyone.

Ids are unique within a run, those of rejected rows too, and the same in the next run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loom_dagster.connectors import Unreadable
from loom_dagster.connectors.keys import KeyIndex, key_text
from loom_dagster.records import Quarantined, Record, Stage, digest

__all__ = ["Identities"]

_VERSION = "h1"  # of the hash; another way to hash gets another number, so that ids never mix
_AMBIGUOUS = re.compile(r"^~|#\d+$")

Row = tuple[int, Mapping[str, Any]]  # position in the source, columns


class Identities:
    """Gives ids to the rows of one reading of a source. With ``key`` a repeated or empty one is
    rejected; without, equal rows are told apart by how often they occurred before."""

    def __init__(self, key: Sequence[str], scratch: Path) -> None:
        self._key = tuple(key)
        self._index = KeyIndex(scratch)
        self._count = 0

    def close(self) -> None:
        self._index.close()

    def identify(
        self, rows: Sequence[Row], lineage: Sequence[str | None] | None = None
    ) -> list[Record | Quarantined]:
        """A record or a rejected row for each row, in order. ``Record.row`` counts the records.

        ``lineage`` are the ids the rows had in the pipeline they come from; they count as keys.
        """
        names = self._names(rows, lineage)
        times = self._times(names)
        keyed = bool(self._key) or lineage is not None
        found: list[Record | Quarantined] = []
        records = 0
        for (position, columns), name, n in zip(rows, names, times, strict=True):
            numbered = name if n == 1 and not (keyed and _AMBIGUOUS.search(name[1:])) else f"{name}#{n}"
            if name.startswith("~"):
                found.append(_rejected(numbered, position, columns, "null_key", self._null_reason(columns)))
            elif keyed and n > 1:
                reason = f"key {self._shown(name[1:])} occurs again (number {n})"
                found.append(_rejected(numbered[1:], position, columns, "repeated_key", reason))
            else:
                found.append(Record(id=numbered[1:], position=position, row=records, columns=columns))
                records += 1
        return found

    def reject(self, unreadable: Sequence[Unreadable], start: int) -> list[Quarantined]:
        """The rows that could not be read; ``start`` is the position of their chunk."""
        if not unreadable:
            return []
        names = [f"~raw:{_hash(row.raw)}" for row in unreadable]
        return [
            _rejected(
                name if n == 1 else f"{name}#{n}",
                start + row.offset,
                {"_raw": row.raw},
                "unreadable_row",
                row.reason,
            )
            for row, name, n in zip(unreadable, names, self._times(names), strict=True)
        ]

    def _names(self, rows: Sequence[Row], lineage: Sequence[str | None] | None) -> list[str]:
        """One text for rows that are the same: a dot before keys and hashes, a tilde before what has none."""
        if lineage is None and not self._key:
            return [f".{_VERSION}:{_hash(columns)}" for _, columns in rows]
        if lineage is not None:
            texts = [key_text([value]) for value in lineage]
        else:
            texts = [key_text([columns[name] for name in self._key]) for _, columns in rows]
        return [
            f"~null:{_hash(columns)}" if text is None else f".{text}"
            for text, (_, columns) in zip(texts, rows, strict=True)
        ]

    def _times(self, names: Sequence[str]) -> list[int]:
        """The how-manieth occurrence each is, over the whole source."""
        firsts = self._index.add(names, self._count)
        numbers = range(self._count, self._count + len(names))
        self._count += len(names)
        return [
            1 if first == number else self._index.again(name)
            for name, first, number in zip(names, firsts, numbers, strict=True)
        ]

    def _null_reason(self, columns: Mapping[str, Any]) -> str:
        empty = [name for name in self._key if key_text([columns[name]]) is None]
        what = ", ".join(f"`{name}`" for name in empty) or "record id"
        return f"key {what} is null or empty"

    def _shown(self, text: str) -> str:
        return f"{'+'.join(self._key) or 'record id'} = {text[:100]}"


def _hash(value: object) -> str:
    return digest(value).hex()[:32]


def _rejected(
    record_id: str, position: int, source: Mapping[str, Any], kind: str, reason: str
) -> Quarantined:
    return Quarantined(
        id=record_id, position=position, stage=Stage.EXTRACT, reason=reason, kind=kind, source=source
    )
