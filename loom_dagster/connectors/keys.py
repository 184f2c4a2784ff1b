"""Keys as text, and an index of them on disk: what was seen already, and where.

On disk, because a source may have more records than fit into memory.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from loom_dagster.records import to_json

__all__ = ["KeyIndex", "key_text"]

_AT_ONCE = 400  # keys of one statement, each two parameters; SQLite takes 999 everywhere


def key_text(values: Sequence[Any]) -> str | None:
    """One text for a key: the value itself where there is one column, else a canonical JSON list.

    None when a part is null, NaN or the empty text, for such a key identifies nothing.
    """
    for value in values:
        if value is None or value == "" or value != value:  # noqa: PLR0124 - NaN
            return None
    if len(values) > 1:
        return to_json(list(values)).decode()
    value = values[0]
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    text = to_json(value).decode()
    return text[1:-1] if text.startswith('"') else text


class KeyIndex:
    """Text -> number, in a temporary SQLite file in ``folder`` that no other process sees and
    that is gone when this is closed or the process dies."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"keys-{secrets.token_hex(8)}.tmp"
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-4096"):
            self._db.execute(f"PRAGMA {setting}")
        self._db.execute("CREATE TABLE keys (hash BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID")
        self._db.execute("CREATE TABLE repeats (hash BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")
        os.unlink(path)  # the open handle keeps it alive
        self._db.execute("BEGIN")

    def add(self, keys: Iterable[str], start: int) -> list[int]:
        """Numbers keys from ``start`` on; one that is there keeps its number. Returns the number of each."""
        rows = [(_hash(key), number) for number, key in enumerate(keys, start)]
        before = self._db.total_changes
        for at in range(0, len(rows), _AT_ONCE):
            some = rows[at : at + _AT_ONCE]
            # one statement for many: after each one the interpreter lock has to be won back from a busy event loop
            marks = ",".join(["(?,?)"] * len(some))
            statement = f"INSERT OR IGNORE INTO keys VALUES {marks}"  # noqa: S608 - question marks
            self._db.execute(statement, [value for row in some for value in row])
        if self._db.total_changes - before == len(rows):
            return [number for _, number in rows]
        found = self._find([h for h, _ in rows])
        return [found[h] for h, _ in rows]

    def find(self, keys: Iterable[str]) -> list[int | None]:
        """The number of each key; None for one that is not there."""
        hashes = [_hash(key) for key in keys]
        found = self._find(hashes)
        return [found.get(h) for h in hashes]

    def again(self, key: str) -> int:
        """Counts one more occurrence of a key that is there; returns how many there are now (2, 3, ...)."""
        statement = "INSERT INTO repeats VALUES (?, 2) ON CONFLICT (hash) DO UPDATE SET times = times + 1 RETURNING times"
        return int(self._db.execute(statement, (_hash(key),)).fetchone()[0])

    def close(self) -> None:
        self._db.close()

    def _find(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for at in range(0, len(hashes), _AT_ONCE):
            some = hashes[at : at + _AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT hash, number FROM keys WHERE hash IN ({marks})"  # noqa: S608 - question marks
            found.update(self._db.execute(query, some))
        return found


def _hash(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=16).digest()
