"""Stored answers, read for people: with whom they were for, and when they were stored."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loom_dagster.errors import Misconfigured

__all__ = ["StoredAnswer", "read_answers"]

_COLUMNS = (
    "key", "model", "text", "finish", "input_tokens", "output_tokens", "cached_tokens", "cost", "latency",
    "simulated", "created_at", "pipeline", "record_id", "purpose", "prompt",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """As in the store. ``cost`` in USD (None: unknown), ``latency`` in seconds, ``created_at`` in UNIX seconds; pipeline,
    record and prompt are those it was asked for first."""

    key: bytes
    model: str
    text: str
    finish: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost: float | None
    latency: float
    simulated: bool
    created_at: float
    pipeline: str
    record_id: str
    purpose: str
    prompt: str


def read_answers(path: Path, beginnings: Iterable[bytes]) -> dict[bytes, StoredAnswer]:
    """The answers whose keys begin so, by these beginnings; what is not there is left out. The store at ``path`` is
    not written to. Raises Misconfigured when it cannot be read."""
    found: dict[bytes, StoredAnswer] = {}
    if not path.exists():
        return found
    # a key is its own index: those that begin so lie between two values
    query = f"SELECT {', '.join(_COLUMNS)} FROM answers WHERE key >= ? AND key < ? ORDER BY key LIMIT 1"  # noqa: S608
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=30.0)) as store:
            store.execute("PRAGMA query_only = ON")
            for beginning in dict.fromkeys(beginnings):
                row = store.execute(query, (beginning, _after(beginning))).fetchone()
                if row is not None:
                    values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
                    found[beginning] = StoredAnswer(**{**values, "simulated": bool(values["simulated"])})
    except sqlite3.Error as error:
        raise Misconfigured("the answer store cannot be read", where=str(path), why=str(error)) from error
    return found


def _after(beginning: bytes) -> bytes:
    """Greater than every key of 32 bytes that begins so."""
    return beginning + b"\xff" * 33
