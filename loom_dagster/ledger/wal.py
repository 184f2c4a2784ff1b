"""SQLite's write-ahead log, switched on by whoever opens a file first, and waited for by those who come at the same time."""

from __future__ import annotations

import sqlite3
import time

__all__ = ["use_wal"]

_PATIENCE = 30.0  # seconds
_PAUSE = 0.02


def use_wal(raw: sqlite3.Connection) -> None:
    """Raises sqlite3.OperationalError when somebody keeps the file locked for half a minute.

    ``busy_timeout`` alone does not do: while another connection writes to a file that has no such log yet, SQLite says
    at once that it is locked, as it has begun to read and a wait could be a deadlock.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            if raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                raw.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(_PAUSE)
        else:
            return
