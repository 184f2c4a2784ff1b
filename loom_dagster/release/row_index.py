"""Where in a table a record is: a file beside the table, so that one of a million is found without reading them.

    8 bytes   "loomidx1"
    pieces    of 262,144 rows, the last one of what is left: the sorted hashes of their ids (8 bytes each, little-endian),
              then the number of the row of each (4 bytes)

Every piece is sorted by itself, so that writing takes little memory however many rows there are. A hash says where to
look; whether it is the record, the row itself says.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from hashlib import blake2b
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["IndexFile", "index_of", "rows_in_index"]

_MAGIC = b"loomidx1"
_PIECE = 262_144
_HASH, _ROW = np.dtype("<u8"), np.dtype("<u4")
_EACH = _HASH.itemsize + _ROW.itemsize

_Hashes = npt.NDArray[np.uint64]


def index_of(table: Path) -> Path:
    """Where the index of a table's file is, if it has one."""
    return table.with_suffix(".idx")


class IndexFile:
    """Takes the ids of a table's rows in their order. Holds at most one piece in memory."""

    def __init__(self, table: Path) -> None:
        self._path = index_of(table)
        self._file = pa.OSFile(os.fspath(self._path), "wb")
        self._file.write(_MAGIC)
        self._waiting: list[_Hashes] = []
        self._rows = self._begun = 0

    def append(self, ids: Sequence[str]) -> None:
        self._waiting.append(_hashes(ids))
        self._rows += len(ids)
        if self._rows - self._begun >= _PIECE:
            self._write(_PIECE)

    def finish(self) -> None:
        """Everything is on disk when this returns."""
        self._write(1)
        self._file.close()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())

    def abandon(self) -> None:
        """Let go of the file, whatever is in it."""
        self._file.close()

    def _write(self, least: int) -> None:
        """Pieces, as long as there are ``least`` rows for one."""
        while (there := self._rows - self._begun) >= least:
            whole = np.concatenate(self._waiting)
            hashes, rest = whole[:_PIECE], whole[_PIECE:]
            order = np.argsort(hashes, kind="stable").astype(_ROW)
            self._file.write(hashes[order].tobytes())
            self._file.write((order + np.array(self._begun, _ROW)).tobytes())
            self._begun += min(there, _PIECE)
            self._waiting = [rest] if len(rest) else []


def rows_in_index(table: Path, record_id: str, rows: int | None = None) -> list[int] | None:
    """The rows of the table that may be the record's; None when it has no index that can be read. ``rows``: how many the
    table has, where that is known; an index of another number is none of it."""
    try:
        with index_of(table).open("rb") as file:
            held, rest = divmod(os.fstat(file.fileno()).st_size - len(_MAGIC), _EACH)
            if rest or rows not in (None, held) or file.read(len(_MAGIC)) != _MAGIC:
                return None
            with closing(mmap(file.fileno(), 0, access=ACCESS_READ)) as there:
                return [row for row in _found(there, _hashes([record_id])[0], held) if row < held]
    except (OSError, ValueError):  # also one that is cut off while it is read
        return None


def _found(there: mmap, wanted: np.uint64, rows: int) -> list[int]:
    found: list[int] = []
    for begun in range(0, rows, _PIECE):
        n, at = min(_PIECE, rows - begun), len(_MAGIC) + begun * _EACH
        hashes = np.frombuffer(there, _HASH, n, at)
        first = int(np.searchsorted(hashes, wanted))
        while first < n and hashes[first] == wanted:
            place = at + n * _HASH.itemsize + first * _ROW.itemsize
            found.append(int.from_bytes(there[place : place + _ROW.itemsize], "little"))
            first += 1
        del hashes  # it holds the file open
    return found


def _hashes(ids: Sequence[str]) -> _Hashes:
    made = b"".join([blake2b(i.encode("utf-8", "backslashreplace"), digest_size=8).digest() for i in ids])
    return np.frombuffer(made, _HASH)
